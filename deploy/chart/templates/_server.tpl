{{/*
A container of `python -m dachub.server`, less what only one of them has; given
(dict "component" ... "root" $), whose component is the work it does and has its values.
*/}}
{{- define "dachub.server" -}}
{{- $values := index .root.Values .component -}}
name: {{ .component }}
image: {{ include "dachub.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: [python, -m, dachub.server]
env:
  {{- include "dachub.serverVariables" .root | nindent 2 }}
  - name: DACHUB_WORK
    value: {{ .component }}
  {{- with $values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: http
    containerPort: 8080
# A database that is away is no reason to start again: only readiness asks for it.
startupProbe:
  {{- include "dachub.alive" . | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  {{- include "dachub.alive" . | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /services/dac/api/v1/health
    port: http
  periodSeconds: 5
  timeoutSeconds: 5
securityContext: {{- include "dachub.containerSecurity" . | nindent 2 }}
resources: {{- toYaml $values.resources | nindent 2 }}
{{- end }}

{{- define "dachub.alive" -}}
httpGet:
  path: /services/dac/api/v1/alive
  port: http
{{- end }}

{{/* What `python -m dachub.server` is told, whatever work it does. */}}
{{- define "dachub.serverVariables" -}}
{{- $secret := include "dachub.secret" . -}}
{{ include "dachub.databaseVariables" . }}
- name: DACHUB_SERVICE_HOST
  value: 0.0.0.0
- name: DACHUB_SERVICE_PORT
  value: "8080"
- name: DACHUB_HUB_API_URL
  value: {{ .Values.hub.apiUrl | quote }}
- name: DACHUB_PUBLIC_URL
  value: {{ .Values.hub.publicUrl | quote }}
{{ include "dachub.secretVariable" (list "DACHUB_HUB_TOKEN" $secret "hub-token" false) }}
{{ include "dachub.secretVariable" (list "DACHUB_SERVICE_TOKEN" $secret "service-token" false) }}
{{ include "dachub.secretVariable" (list "DACHUB_PORTAL_SECRET" $secret "portal-secret" false) }}
{{ include "dachub.secretVariable" (list "DACHUB_METRICS_TOKEN" $secret "metrics-token" false) }}
{{ include "dachub.secretVariable" (list "DACHUB_ADMIN_PASSWORD" $secret "admin-password" true) }}
{{- if .Values.config.synthetic }}
{{ include "dachub.secretVariable" (list "DACHUB_SYNTHETIC_PASSWORD" $secret "synthetic-password" true) }}
{{- end }}
{{ include "dachub.secretVariable" (list "DACHUB_SMTP_PASSWORD" .Values.secrets.site "smtp-password" true) }}
{{- end }}
