{{/* What a schema cannot say: values that do not fit together. Each is refused by the names of
     the values, before anything is installed. */}}

{{/* A duration in milliseconds. */}}
{{- define "network-dra.milliseconds" -}}
{{- $unit := get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+$" .) -}}
{{- mul (regexFind "^[0-9]+" . | int64) $unit -}}
{{- end -}}

{{- define "network-dra.check" -}}
{{- $times := .Values.timeouts -}}
{{- $kill := include "network-dra.milliseconds" $times.hookKillAfter | int64 -}}
{{- $hook := include "network-dra.milliseconds" $times.hook | int64 -}}
{{- $cni := include "network-dra.milliseconds" $times.cni | int64 -}}
{{- $stop := include "network-dra.milliseconds" $times.stop | int64 -}}
{{- /* CDI counts in whole seconds. */}}
{{- if le (mul (div $kill 1000) 1000) $hook -}}
{{- fail (printf "timeouts.hookKillAfter (%s) must be longer than timeouts.hook (%s), in whole seconds, or the hook's message never gets out" $times.hookKillAfter $times.hook) -}}
{{- end -}}
{{- if gt $hook 600000 -}}
{{- fail (printf "timeouts.hook (%s) is longer than 10m, and the kubelet waits 2m for a container unless it is told otherwise" $times.hook) -}}
{{- end -}}
{{- if le $hook $cni -}}
{{- fail (printf "timeouts.hook (%s) must be longer than timeouts.cni (%s), or the hook's message never gets out" $times.hook $times.cni) -}}
{{- end -}}
{{- if le (mul .Values.terminationGracePeriodSeconds 1000 | int64) $stop -}}
{{- fail (printf "terminationGracePeriodSeconds (%d) must be longer than timeouts.stop (%s), or the driver is killed amid its calls" (int64 .Values.terminationGracePeriodSeconds) $times.stop) -}}
{{- end -}}
{{- if and .Values.metrics.enabled (eq (int64 .Values.metrics.port) (int64 .Values.health.port)) -}}
{{- fail (printf "metrics.port and health.port are both %d: each needs a port of its own" (int64 .Values.health.port)) -}}
{{- end -}}
{{- $paths := .Values.hostPaths -}}
{{- $places := dict -}}
{{- $mounts := dict "kubeletRegistry" $paths.kubeletRegistry "kubeletPlugins" (printf "%s/%s" $paths.kubeletPlugins .Values.driverName) "state" $paths.state "run" $paths.run "cdi" $paths.cdi "criSocket" (dir (include "network-dra.criSocket" .)) "hook" $paths.hook "cniBin" $paths.cniBin "cniState" $paths.cniState "cniCache" $paths.cniCache "netns" $paths.netns -}}
{{- range $name := keys $mounts | sortAlpha -}}
{{- $place := get $mounts $name -}}
{{- with get $places $place -}}
{{- fail (printf "hostPaths.%s and hostPaths.%s both lead to %s: each needs a directory of its own" . $name $place) -}}
{{- end -}}
{{- $_ := set $places $place $name -}}
{{- end -}}
{{- end -}}
