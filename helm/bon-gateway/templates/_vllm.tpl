{{/* The arguments of one vLLM: a list under `args`. */}}
{{- define "bon.vllmArgs" -}}
{{- $args := list .model (printf "--served-model-name=%s" .servedName) "--host=0.0.0.0" (printf "--port=%d" (int .port)) -}}
{{- if not (hasPrefix "/" .model) -}}{{- $args = append $args (printf "--revision=%s" .revision) -}}{{- end -}}
{{- if and (gt (int .gpu.count) 1) (not (hasKey .args "tensor-parallel-size")) -}}
{{- $args = append $args (printf "--tensor-parallel-size=%d" (int .gpu.count)) -}}
{{- end -}}
{{- range $flag, $value := .args -}}
{{- if kindIs "bool" $value -}}
{{- $args = append $args (printf "--%s%s" ($value | ternary "" "no-") $flag) -}}
{{- else if kindIs "slice" $value -}}
{{- $args = append $args (printf "--%s" $flag) -}}
{{- range $value -}}{{- $args = append $args (include "bon.scalar" .) -}}{{- end -}}
{{- else if kindIs "map" $value -}}
{{- $args = append $args (printf "--%s=%s" $flag (toJson $value)) -}}
{{- else -}}
{{- $args = append $args (printf "--%s=%s" $flag (include "bon.scalar" $value)) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "args" $args) -}}
{{- end -}}
