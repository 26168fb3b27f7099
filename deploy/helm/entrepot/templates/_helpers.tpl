{{- define "entrepot.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "entrepot.selector" -}}
app.kubernetes.io/name: entrepot
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: central
{{- end -}}

{{- define "entrepot.labels" -}}
{{ include "entrepot.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "entrepot.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "entrepot.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "entrepot.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The port of an address as the configuration has it: 0.0.0.0:5000, "[::]:5000". */}}
{{- define "entrepot.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/* The configuration, with the names by which the admin Service is asked: the listener answers to no other. */}}
{{- define "entrepot.config" -}}
{{- $admin := printf "%s-admin" (include "entrepot.fullname" .) -}}
{{- $names := list $admin (printf "%s.%s" $admin .Release.Namespace) (printf "%s.%s.svc" $admin .Release.Namespace) (printf "%s.%s.svc.cluster.local" $admin .Release.Namespace) -}}
{{- $own := .Values.config.host_names | default list -}}
{{- $config := set (deepCopy .Values.config) "host_names" (concat $own $names | uniq) -}}
{{- if .Values.adminToken.existingSecret -}}
{{- $_ := set $config "admin_token_file" (printf "/run/entrepot/admin-token/%s" .Values.adminToken.key) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
