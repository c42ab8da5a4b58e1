{{/* The one pod template: every Deployment, Job and hook is made with it, so that none lacks the pull
     secrets, the scheduling or the security of the others.

     A dict: root, role, unit, pod (merged values), name (the container's), image, pullPolicy, and
     perhaps command, args, workingDir, env, ports, probes, lifecycle, grace, resources, gpu, shmSize,
     volumes, mounts, models (mount the model cache), modelsReadOnly, offline, waits (the models that
     have to be there first), restart, spreads (over hosts and zones), annotations. */}}
{{- define "bon.podTemplate" -}}
{{- $root := .root -}}
{{- $pod := .pod -}}
{{- $volumes := concat (list (dict "name" "tmp" "emptyDir" (dict "sizeLimit" $pod.tmpSize))) (default list .volumes) -}}
{{- $mounts := concat (list (dict "name" "tmp" "mountPath" "/tmp")) (default list .mounts) -}}
{{- $env := concat (list (dict "name" "HOME" "value" "/tmp")) (default list .env) -}}
{{- if .shmSize -}}
{{- $volumes = append $volumes (dict "name" "shm" "emptyDir" (dict "medium" "Memory" "sizeLimit" .shmSize)) -}}
{{- $mounts = append $mounts (dict "name" "shm" "mountPath" "/dev/shm") -}}
{{- end -}}
{{- if .models -}}
{{- $volumes = append $volumes (include "bon.modelVolume" $root | fromYaml) -}}
{{- $mounts = append $mounts (include "bon.modelMount" (dict "root" $root "readOnly" .modelsReadOnly) | fromYaml) -}}
{{- $env = concat $env (include "bon.hubEnv" (dict "root" $root "offline" .offline) | fromYaml).env -}}
{{- end -}}
{{- $volumes = concat $volumes $pod.extraVolumes -}}
{{- $mounts = concat $mounts $pod.extraVolumeMounts -}}
{{- $env = concat $env $pod.extraEnv -}}
{{- $resources := deepCopy (default dict .resources) -}}
{{- if and .gpu (gt (int .gpu.count) 0) -}}
{{- $limits := merge (dict .gpu.resource (int .gpu.count)) (default dict $resources.limits) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
metadata:
  {{- /* Not the chart's version: with it each upgrade would start all pods anew. */}}
  labels:
    {{- include "bon.selectorLabels" . | nindent 4 }}
    {{- with merge (dict) $pod.labels $root.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge (dict) (default dict .annotations) $pod.annotations $root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "bon.serviceAccountName" $root }}
  automountServiceAccountToken: false
  # A Service's variables would be taken for settings.
  enableServiceLinks: false
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- with .grace }}
  terminationGracePeriodSeconds: {{ int . }}
  {{- end }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml $pod.securityContext | nindent 4 }}
  {{- with .waits }}
  initContainers:
    - name: await-models
      image: {{ $.image }}
      imagePullPolicy: {{ $.pullPolicy }}
      command: [python3, -c, {{ $root.Files.Get "files/await_models.py" | toJson }}]
      args:
        - {{ $root.Values.modelCache.mountPath }}
        {{- toYaml . | nindent 8 }}
      securityContext:
        {{- toYaml $pod.containerSecurityContext | nindent 8 }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 128Mi}
      volumeMounts:
        - {name: models, mountPath: {{ $root.Values.modelCache.mountPath }}, readOnly: true}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ .image }}
      imagePullPolicy: {{ .pullPolicy }}
      {{- with .command }}
      command:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .args }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .workingDir }}
      workingDir: {{ . }}
      {{- end }}
      env:
        {{- toYaml $env | nindent 8 }}
      {{- with $pod.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .ports }}
      ports:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- range $kind, $probe := default dict .probes }}
      {{ $kind }}Probe:
        {{- mergeOverwrite (deepCopy $probe) (deepCopy (default dict (get $pod.probes $kind))) | toYaml | nindent 8 }}
      {{- end }}
      {{- with .lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml $pod.containerSecurityContext | nindent 8 }}
      resources:
        {{- toYaml $resources | nindent 8 }}
      volumeMounts:
        {{- toYaml $mounts | nindent 8 }}
  volumes:
    {{- toYaml $volumes | nindent 4 }}
  {{- with $pod.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and .spreads (ne $pod.spread "none") }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: {{ eq $pod.spread "required" | ternary "DoNotSchedule" "ScheduleAnyway" }}
      # Only pods of the same revision count, or an update would not find a place.
      matchLabelKeys: [pod-template-hash]
      labelSelector:
        matchLabels:
          {{- include "bon.selectorLabels" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with $pod.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $pod.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $pod.schedulerName }}
  schedulerName: {{ . }}
  {{- end }}
{{- end -}}

{{/* Probes of a server: a dict with the paths live, ready and started, startup (seconds that a start
     may take), patience (seconds that a busy server may need to say that it lives). */}}
{{- define "bon.probes" -}}
startup:
  httpGet: {path: {{ .started }}, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ div (add (int .startup) 4) 5 }}
readiness:
  httpGet: {path: {{ .ready }}, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
liveness:
  httpGet: {path: {{ .live }}, port: http}
  periodSeconds: 20
  timeoutSeconds: {{ .patience }}
  failureThreshold: 6
{{- end -}}

{{/* Waits before SIGTERM: some seconds in which requests still come, then for what is in flight. */}}
{{- define "bon.drainHook" -}}
preStop:
  exec:
    command:
      - python3
      - -c
      - {{ .root.Files.Get "files/drain.py" | toJson }}
      - {{ printf "http://127.0.0.1:%d/metrics" (int .port) }}
      - {{ .delay | int | quote }}
      - {{ .longest | int | quote }}
      {{- toYaml .metrics | nindent 6 }}
{{- end -}}
