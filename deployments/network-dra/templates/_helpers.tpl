{{- define "network-dra.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "network-dra.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "network-dra.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "network-dra.selector" -}}
app.kubernetes.io/name: {{ include "network-dra.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "network-dra.labels" -}}
{{ include "network-dra.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "network-dra.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "network-dra.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "network-dra.criSocket" -}}
{{- $sockets := dict "containerd" "/run/containerd/containerd.sock" "crio" "/run/crio/crio.sock" -}}
{{- .Values.hostPaths.criSocket | default (get $sockets .Values.runtime) -}}
{{- end -}}

{{- define "network-dra.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* The rights of a container that runs CNI plugins and enters network namespaces. */}}
{{- define "network-dra.securityContext" -}}
{{- if .Values.privileged -}}
privileged: true
{{- else -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
  add: [NET_ADMIN, SYS_ADMIN]
{{- end }}
readOnlyRootFilesystem: true
runAsUser: 0
{{- end -}}

{{/* A volume's name is its value's, in the spelling that Kubernetes takes: the kubelet says
     it when the path is not there. */}}
{{- define "network-dra.volume" -}}
host-paths-{{ . | kebabcase }}
{{- end -}}
