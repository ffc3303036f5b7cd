{{/*
Every name in one place. They do not depend on the release's: Zero to JupyterHub's values refer to
them, and one namespace holds one platform.
*/}}
{{- define "dachub.name" -}}dachub{{- end }}
{{- define "dachub.secret" -}}{{ include "dachub.name" . }}{{- end }}
{{- define "dachub.account" -}}{{ include "dachub.name" . }}{{- end }}
{{- define "dachub.configMap" -}}{{ include "dachub.name" . }}{{- end }}
{{- define "dachub.migrate" -}}{{ include "dachub.name" . }}-migrate{{- end }}
{{- define "dachub.postgres" -}}{{ include "dachub.name" . }}-postgres{{- end }}
{{- define "dachub.storage" -}}{{ include "dachub.name" . }}-storage{{- end }}
{{- define "dachub.logs" -}}{{ include "dachub.name" . }}-logs{{- end }}
{{- define "dachub.backup" -}}{{ include "dachub.name" . }}-backup{{- end }}
{{- define "dachub.outbox" -}}{{ include "dachub.name" . }}-outbox{{- end }}

{{/* What belongs to the whole cluster must not collide with another instance's. */}}
{{- define "dachub.clusterWide" -}}{{ .Release.Namespace }}-{{ .Release.Name }}{{- end }}

{{/* Labels to select by; given (dict "component" ... "root" $). They never change. */}}
{{- define "dachub.selector" -}}
app.kubernetes.io/name: dachub
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of everything: the same, and what changes with versions. */}}
{{- define "dachub.labels" -}}
{{ include "dachub.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Selects pods of z2jh; given its component. */}}
{{- define "dachub.z2jh" -}}
podSelector:
  matchLabels:
    app: jupyterhub
    component: {{ . }}
{{- end }}
