//! What the kubelet calls: registration and the DRA service.
