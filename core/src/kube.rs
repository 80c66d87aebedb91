//! The Kubernetes API as the driver uses it: claims read, status and events written, slices published.
