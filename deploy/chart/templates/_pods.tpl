{{/*
What all pods share; each is given (dict "component" ... "root" $), and "beside" a component of
z2jh on whose node it has to be.
*/}}

{{- define "dachub.podSpec" -}}
serviceAccountName: {{ .account | default (include "dachub.account" .root) }}
{{- /* Only one with an account of its own asks the cluster for anything. */}}
automountServiceAccountToken: {{ hasKey . "account" }}
# The cluster would set DACHUB_SERVICE_PORT and others for our Services' names.
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with include "dachub.priority" . }}
priorityClassName: {{ . }}
{{- end }}
{{- include "dachub.nodes" (merge (dict "beside" .beside) .root.Values.scheduling) }}
{{- end }}

{{- define "dachub.priority" -}}
{{- $priority := .root.Values.priority }}
{{- if $priority.create -}}
{{ include "dachub.clusterWide" .root }}-{{ eq .component "postgres" | ternary "database" "service" }}
{{- else -}}
{{ $priority.existing }}
{{- end }}
{{- end }}

{{- define "dachub.nodes" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .beside (ne .matchNodePurpose "ignore") }}
affinity:
{{- end }}
{{- with .beside }}
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector: {{- (include "dachub.z2jh" . | fromYaml).podSelector | toYaml | nindent 10 }}
{{- end }}
{{- if ne .matchNodePurpose "ignore" }}
  nodeAffinity:
    {{- if eq .matchNodePurpose "require" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions: {{- include "dachub.corePurpose" . | nindent 12 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference:
          matchExpressions: {{- include "dachub.corePurpose" . | nindent 12 }}
    {{- end }}
{{- end }}
{{- end }}

{{- define "dachub.corePurpose" -}}
- key: hub.jupyter.org/node-purpose
  operator: In
  values: [core]
{{- end }}

{{/* Security of a pod; given (dict "user" ... "group" ...). */}}
{{- define "dachub.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .group }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "dachub.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "dachub.image" -}}
{{- with .Values.image -}}
{{ with .registry }}{{ . | trimSuffix "/" }}/{{ end }}dachub-service:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/*
dachub.yaml: the site's, with the database that this chart knows of. Where it names no directories
that a storage pod may write to, they go with the pod: pods of people find group folders without
links, and walks that were interrupted begin anew.
*/}}
{{- define "dachub.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "database" (dict "url" (include "dachub.databaseUrl" .)) }}
{{- $writable := dict "state" "/var/lib/dachub/storage" "group_links" "/var/lib/dachub/group-links" }}
{{- $_ := set $config "storage" (merge ($config.storage | default dict) $writable) }}
{{- toYaml $config }}
{{- end }}

{{- define "dachub.databaseUrl" -}}
{{- if eq .Values.database.kind "inside" -}}
postgresql://dachub@{{ include "dachub.postgres" . }}/dachub
{{- else -}}
{{ required "database.kind is outside: give database.outside.url" .Values.database.outside.url }}
{{- end }}
{{- end }}

{{/* One variable from a Secret; given (list NAME SECRET KEY OPTIONAL). */}}
{{- define "dachub.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
      {{- if index . 3 }}
      optional: true
      {{- end }}
{{- end }}

{{/* How any of our programs finds its configuration and the database. */}}
{{- define "dachub.databaseVariables" -}}
{{- $outside := .Values.database.outside -}}
- name: DACHUB_CONFIG
  value: /etc/dachub/dachub.yaml
{{- if eq .Values.database.kind "inside" }}
{{ include "dachub.secretVariable" (list "DACHUB_DATABASE_PASSWORD" (include "dachub.secret" .) "database-password" false) }}
{{- else }}
{{ include "dachub.secretVariable" (list "DACHUB_DATABASE_PASSWORD" ($outside.password.secret | default .Values.secrets.site) $outside.password.key true) }}
{{- if $outside.authority.secret }}
- name: PGSSLMODE
  value: verify-full
- name: PGSSLROOTCERT
  value: /etc/dachub-database/ca.crt
{{- end }}
{{- end }}
{{- end }}

{{/* Where they find them; the name of the ConfigMap differs for a migration. */}}
{{- define "dachub.mounts" -}}
- name: config
  mountPath: /etc/dachub
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if include "dachub.hasAuthority" . }}
- name: database-authority
  mountPath: /etc/dachub-database
  readOnly: true
{{- end }}
{{- end }}

{{- define "dachub.volumes" -}}
- name: config
  configMap:
    name: {{ .configMap }}
- name: tmp
  emptyDir: {}
{{- if include "dachub.hasAuthority" .root }}
- name: database-authority
  secret:
    secretName: {{ .root.Values.database.outside.authority.secret }}
    items:
      - key: {{ .root.Values.database.outside.authority.key }}
        path: ca.crt
{{- end }}
{{- end }}

{{- define "dachub.hasAuthority" -}}
{{- if and (eq .Values.database.kind "outside") .Values.database.outside.authority.secret }}yes{{- end }}
{{- end }}
