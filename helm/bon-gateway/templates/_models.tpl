{{/* The volume with models, and what tells the hub's library about it. */}}

{{- define "bon.modelClaim" -}}
{{- default (printf "%s-models" (include "bon.fullname" .)) .Values.modelCache.existingClaim -}}
{{- end -}}

{{- define "bon.modelVolume" -}}
name: models
{{- if .Values.modelCache.enabled }}
persistentVolumeClaim:
  claimName: {{ include "bon.modelClaim" . }}
{{- else }}
emptyDir: {}
{{- end }}
{{- end -}}

{{- define "bon.modelMount" -}}
name: models
mountPath: {{ .root.Values.modelCache.mountPath }}
{{- if .readOnly }}
readOnly: true
{{- end }}
{{- end -}}

{{/* A dict with root and offline. Code that a checkpoint brings is kept where it can be written. */}}
{{- define "bon.hubEnv" -}}
env:
  - name: HF_HOME
    value: {{ .root.Values.modelCache.mountPath }}/.hub
  - name: HF_MODULES_CACHE
    value: /tmp/hub-modules
  - name: HF_HUB_DISABLE_TELEMETRY
    value: "1"
  # Libraries ask who the user is, and the image has no entry for this user id.
  - name: USER
    value: bon
  {{- if .offline }}
  - name: HF_HUB_OFFLINE
    value: "1"
  {{- else }}
  {{- with .root.Values.huggingFace.endpoint }}
  - name: HF_ENDPOINT
    value: {{ . }}
  {{- end }}
  {{- with .root.Values.huggingFace.tokenSecret }}
  - name: HF_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ . }}
        key: {{ $.root.Values.huggingFace.tokenKey }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* Models out of the hub, of generators, reward servers and modelCache.download.extra: a list of
     `owner/name@revision` under `models`, each once. */}}
{{- define "bon.hubModels" -}}
{{- $models := list -}}
{{- range concat (values (include "bon.generators" . | fromYaml)) (values (include "bon.rewardServers" . | fromYaml)) .Values.modelCache.download.extra -}}
{{- if not (hasPrefix "/" .model) -}}
{{- $models = append $models (printf "%s@%s" .model .revision) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "models" ($models | uniq | sortAlpha)) -}}
{{- end -}}

{{/* What the pod of one model waits for: nothing unless the download Job brings it. */}}
{{- define "bon.awaited" -}}
{{- if and .root.Values.modelCache.download.enabled (not (hasPrefix "/" .model)) -}}
models: [{{ printf "%s@%s" .model .revision | quote }}]
{{- else -}}
models: []
{{- end -}}
{{- end -}}
