{{/* Egress that several policies share. */}}

{{- define "dachub.toDns" -}}
- to: {{- toYaml .Values.networkPolicies.dns | nindent 4 }}
  ports:
    {{- range uniq (list 53 (int .Values.networkPolicies.dnsPort)) }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{- define "dachub.toDatabase" -}}
{{- if eq .Values.database.kind "inside" -}}
- to:
    - podSelector:
        matchLabels: {{- include "dachub.selector" (dict "component" "postgres" "root" .) | nindent 10 }}
  ports:
    - port: 5432
{{- else -}}
{{ include "dachub.toPeers" (list .Values.database.outside.peers (include "dachub.portOf" (list .Values.database.outside.url 5432))) }}
{{- end }}
{{- end }}

{{/* Some peers, else any address; given (list PEERS PORT). */}}
{{- define "dachub.toPeers" -}}
- ports:
    - port: {{ index . 1 }}
  {{- with index . 0 }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The port of a URL; given (list URL DEFAULT). */}}
{{- define "dachub.portOf" -}}
{{- $host := (urlParse (index . 0)).host -}}
{{ regexFind ":[0-9]+$" $host | trimPrefix ":" | default (index . 1) }}
{{- end }}
