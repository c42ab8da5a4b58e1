{{/* Names and labels. A "unit" is one Deployment or Job: the gateway, one generator, one trainer. */}}

{{/* The prefix of all names: at most 32 characters, so that a Service's name fits into 63. A longer
     one is cut and ends in a hash, so that two never become one. */}}
{{- define "bon.fullname" -}}
{{- $base := default .Chart.Name .Values.nameOverride -}}
{{- $name := default (contains $base .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $base)) .Values.fullnameOverride -}}
{{- if gt (len $name) 32 -}}
{{- printf "%s-%s" ($name | trunc 24 | trimSuffix "-") (sha256sum $name | trunc 7) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* What every pod of this chart in this release has. Under an umbrella chart the neighbours have the
     same instance, so that only both labels together tell them apart. */}}
{{- define "bon.releaseLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bon.selectorLabels" -}}
{{ include "bon.releaseLabels" .root }}
app.kubernetes.io/component: {{ .role }}
bon-gateway/unit: {{ .unit }}
{{- end -}}

{{- define "bon.labels" -}}
{{ include "bon.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object: a dict with root, role, unit, name, and perhaps labels, annotations. */}}
{{- define "bon.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "bon.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "bon.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "bon.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image: a dict with root, image and own, which says that the project builds it. */}}
{{- define "bon.image" -}}
{{- $repository := .image.repository -}}
{{- if and .own .root.Values.image.registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .root.Values.image.registry) $repository -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* A number as an integer: what comes from JSON is a float, which prints as 1e+06. */}}
{{- define "bon.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}
