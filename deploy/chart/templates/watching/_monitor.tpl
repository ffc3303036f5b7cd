{{/*
How Prometheus asks one part; given (dict "port" ... "path" ... "job" ... "root" $). The rules know
the jobs by these names, wherever they run.
*/}}
{{- define "dachub.endpoint" -}}
- port: {{ .port }}
  path: {{ .path }}
  interval: {{ .root.Values.metrics.serviceMonitor.interval }}
  authorization:
    credentials:
      name: {{ include "dachub.secret" .root }}
      key: metrics-token
  relabelings:
    - {action: replace, targetLabel: job, replacement: {{ .job }}}
{{- end }}

{{/* Labels of what the operator reads; given (dict "labels" ... "root" $). */}}
{{- define "dachub.watchingLabels" -}}
{{ include "dachub.labels" (dict "component" "service" "root" .root) }}
{{- with .labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
