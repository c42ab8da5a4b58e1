{{/* The gateway's settings: those of the values, with a policy of each generator and a reward of each
     reward server. A dict with root and track; the second gateway has its own models. */}}
{{- define "bon.gatewaySettings" -}}
{{- $root := .root -}}
{{- $gateway := $root.Values.gateway -}}
{{- $settings := deepCopy $gateway.settings -}}
{{- range $name, $unit := include "bon.generators" $root | fromYaml -}}
{{- $policy := dict "type" "vllm" "urls" (list (printf "http://%s:%d" $unit.fullname (int $unit.port))) "resolve" "addresses" "model" $unit.servedName -}}
{{- if $unit.revision -}}{{- $_ := set $policy "revision" $unit.revision -}}{{- end -}}
{{- if $unit.apiKey.existingSecret -}}{{- $_ := set $policy "api_key_env" $unit.keyVariable -}}{{- end -}}
{{- $_ := set $settings.policies $name (merge $policy $unit.policy) -}}
{{- end -}}
{{- range $name, $unit := include "bon.rewardServers" $root | fromYaml -}}
{{- $reward := dict "type" "reward_server" "urls" (list (printf "http://%s:%d" $unit.fullname (int $unit.port))) "resolve" "addresses" -}}
{{- if $unit.apiKeys.existingSecret -}}{{- $_ := set $reward "api_key_env" $unit.keyVariable -}}{{- end -}}
{{- $_ := set $settings.rewards $name (merge $reward $unit.reward) -}}
{{- end -}}
{{- if eq .track "rollout" -}}
{{- range $name, $model := $gateway.rollout.models -}}{{- $_ := set $settings.models $name $model -}}{{- end -}}
{{- end -}}
{{- if $gateway.apiKeys.existingSecret -}}
{{- $_ := set $settings "auth" (mergeOverwrite (default dict $settings.auth) (dict "keys_file" (printf "/etc/bon-gateway/keys/%s" $gateway.apiKeys.key))) -}}
{{- end -}}
{{- if not (hasKey $settings.server "drain_grace_s") -}}
{{- $_ := set $settings.server "drain_grace_s" (include "bon.longestRequest" (dict "root" $root "settings" $settings) | float64) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* Seconds that one request may take at the most: its slowest policy, reward model and embedder.
     A dict with root and settings. */}}
{{- define "bon.longestRequest" -}}
{{- $defaults := .root.Files.Get "files/defaults.json" | fromJson -}}
{{- $policy := 0.0 -}}
{{- range .settings.policies -}}{{- if not (hasKey . "of") -}}{{- $policy = maxf $policy (get . "timeout_s" | default $defaults.policyTimeout) -}}{{- end -}}{{- end -}}
{{- $reward := 0.0 -}}
{{- range .settings.rewards -}}{{- $reward = maxf $reward (get . "timeout_s" | default $defaults.rewardTimeout) -}}{{- end -}}
{{- $embedder := 0.0 -}}
{{- range .settings.embedders -}}{{- $embedder = maxf $embedder (get . "timeout_s" | default $defaults.embedderTimeout) -}}{{- end -}}
{{- addf $policy $reward $embedder -}}
{{- end -}}

{{/* Environment variables with the keys of upstreams, all out of Secrets: a list under `env`. */}}
{{- define "bon.gatewaySecretEnv" -}}
{{- $env := list -}}
{{- range $name, $unit := include "bon.generators" . | fromYaml -}}
{{- if $unit.apiKey.existingSecret -}}
{{- $env = append $env (dict "name" $unit.keyVariable "valueFrom" (dict "secretKeyRef" (dict "name" $unit.apiKey.existingSecret "key" $unit.apiKey.key))) -}}
{{- end -}}
{{- end -}}
{{- range $name, $unit := include "bon.rewardServers" . | fromYaml -}}
{{- if $unit.apiKeys.existingSecret -}}
{{- $env = append $env (dict "name" $unit.keyVariable "valueFrom" (dict "secretKeyRef" (dict "name" $unit.apiKeys.existingSecret "key" $unit.apiKeys.gatewayKey))) -}}
{{- end -}}
{{- end -}}
{{- range $name, $from := .Values.gateway.secretEnv -}}
{{- $env = append $env (dict "name" $name "valueFrom" (dict "secretKeyRef" (dict "name" $from.secret "key" $from.key))) -}}
{{- end -}}
{{- toYaml (dict "env" $env) -}}
{{- end -}}
