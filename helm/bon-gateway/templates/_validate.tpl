{{/* What the schema cannot see because it joins two places. Each message begins with the key. */}}
{{- define "bon.validate" -}}
{{- include "bon.validateUnits" . -}}
{{- $settings := include "bon.gatewaySettings" (dict "root" . "track" "stable") | fromYaml -}}
{{- include "bon.validateGateway" . -}}
{{- include "bon.validateModels" (dict "root" . "settings" $settings "models" $settings.models "key" "gateway.settings.models") -}}
{{- if .Values.gateway.rollout.enabled -}}
{{- include "bon.validateModels" (dict "root" . "settings" $settings "models" .Values.gateway.rollout.models "key" "gateway.rollout.models") -}}
{{- end -}}
{{- include "bon.validateScaling" . -}}
{{- include "bon.validateTrainers" . -}}
{{- end -}}

{{- define "bon.validateUnits" -}}
{{- if and .Values.modelCache.offline (not .Values.modelCache.enabled) -}}
{{- fail "modelCache.offline: needs modelCache.enabled, for models have to come from somewhere" -}}
{{- end -}}
{{- if and .Values.modelCache.download.enabled (not .Values.modelCache.enabled) -}}
{{- fail "modelCache.download.enabled: needs modelCache.enabled, the volume to download into" -}}
{{- end -}}
{{- range $section, $units := dict "generators" (include "bon.generators" . | fromYaml) "rewardServers" (include "bon.rewardServers" . | fromYaml) -}}
{{- range $name, $unit := $units -}}
{{- $key := printf "%s.%s" $section $name -}}
{{- if not $unit.model -}}
{{- fail (printf "%s.model: is required: a hub id, or a path in a volume" $key) -}}
{{- end -}}
{{- if and (hasPrefix "/" $unit.model) (not $unit.modelInImage) -}}
{{- $volumes := list -}}
{{- if $.Values.modelCache.enabled -}}{{- $volumes = append $volumes $.Values.modelCache.mountPath -}}{{- end -}}
{{- range $unit.pod.extraVolumeMounts -}}{{- $volumes = append $volumes .mountPath -}}{{- end -}}
{{- $inside := false -}}
{{- range $volumes -}}
{{- if or (eq $unit.model .) (hasPrefix (printf "%s/" (trimSuffix "/" .)) $unit.model) -}}{{- $inside = true -}}{{- end -}}
{{- end -}}
{{- if not $inside -}}
{{- fail (printf "%s.model: %s is in no volume of its pods: enable modelCache, mount one with pod.extraVolumes and pod.extraVolumeMounts, or set modelInImage" $key $unit.model) -}}
{{- end -}}
{{- end -}}
{{- if and $unit.modelInImage (not (hasPrefix "/" $unit.model)) -}}
{{- fail (printf "%s.modelInImage: needs a path as the model, and %s is a hub id" $key $unit.model) -}}
{{- end -}}
{{- if and (not (hasPrefix "/" $unit.model)) (not $unit.revision) -}}
{{- fail (printf "%s.revision: is required for a hub id: the commit, or main for whatever is newest" $key) -}}
{{- end -}}
{{- if hasKey (get $.Values.gateway.settings (eq $section "generators" | ternary "policies" "rewards")) $name -}}
{{- fail (printf "gateway.settings.%s.%s: there is %s already, which makes it" (eq $section "generators" | ternary "policies" "rewards") $name $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $place, $pod := include "bon.pods" . | fromYaml -}}
{{- range $pod.extraEnv -}}
{{- if and (hasKey . "value") (regexMatch "(KEY|TOKEN|SECRET|PASSWORD)S?$" (upper .name)) -}}
{{- fail (printf "%s.extraEnv: %s: a secret is given by valueFrom.secretKeyRef, not by its value" $place .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Every place with settings of pods: a map of key to pod. */}}
{{- define "bon.pods" -}}
{{- $pods := dict "pod" .Values.pod "gateway.pod" .Values.gateway.pod "test.pod" .Values.test.pod "modelCache.download.pod" .Values.modelCache.download.pod -}}
{{- range $section, $units := dict "generators" (include "bon.generators" . | fromYaml) "rewardServers" (include "bon.rewardServers" . | fromYaml) "trainers" (include "bon.trainers" . | fromYaml) -}}
{{- range $name, $unit := $units -}}{{- $_ := set $pods (printf "%s.%s.pod" $section $name) $unit.pod -}}{{- end -}}
{{- end -}}
{{- toYaml $pods -}}
{{- end -}}

{{- define "bon.validateGateway" -}}
{{- $gateway := .Values.gateway -}}
{{- if and $gateway.apiKeys.existingSecret (hasKey (default dict $gateway.settings.auth) "keys_file") -}}
{{- fail "gateway.settings.auth.keys_file: gateway.apiKeys.existingSecret makes it" -}}
{{- end -}}
{{- if has $gateway.settings.server.host (list "127.0.0.1" "localhost" "::1") -}}
{{- fail "gateway.settings.server.host: nobody outside the pod reaches loopback" -}}
{{- end -}}
{{- range $section := list "recording" "history" -}}
{{- $folder := get (default dict (get $gateway.settings $section)) "folder" -}}
{{- if and $folder (not (regexMatch "^/[^/]+" $folder)) -}}
{{- fail (printf "gateway.settings.%s.folder: an absolute path is needed, for a volume is mounted there" $section) -}}
{{- end -}}
{{- end -}}
{{- $recording := get (default dict $gateway.settings.recording) "folder" -}}
{{- $history := get (default dict $gateway.settings.history) "folder" -}}
{{- if and $recording $history (eq (clean $recording) (clean $history)) -}}
{{- fail "gateway.settings.history.folder: it is that of recording, and each needs a volume of its own" -}}
{{- end -}}
{{- range $section := list "policies" "rewards" "embedders" -}}
{{- range $name, $upstream := default dict (get $gateway.settings $section) -}}
{{- range get $upstream "urls" | default list -}}
{{- if regexMatch "^https?://[^/]*@" . -}}
{{- fail (printf "gateway.settings.%s.%s.urls: a password does not belong into a ConfigMap; api_key_env takes it from gateway.secretEnv" $section $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $gateway.ingress.enabled (not $gateway.ingress.hosts) -}}
{{- fail "gateway.ingress.hosts: name at least one" -}}
{{- end -}}
{{- if and $gateway.httpRoute.enabled (not $gateway.httpRoute.parentRefs) -}}
{{- fail "gateway.httpRoute.parentRefs: name the Gateway that the route belongs to" -}}
{{- end -}}
{{- if $gateway.rollout.enabled -}}
{{- if not $gateway.httpRoute.enabled -}}
{{- fail "gateway.rollout.enabled: needs gateway.httpRoute.enabled, which divides the traffic by weight" -}}
{{- end -}}
{{- if $gateway.ingress.enabled -}}
{{- fail "gateway.rollout.enabled: not with gateway.ingress.enabled, whose traffic would all go to the first gateway" -}}
{{- end -}}
{{- if not $gateway.rollout.models -}}
{{- fail "gateway.rollout.models: name what the second gateway serves in another way" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* How a policy marks its thinking, as a text to compare; that of one with variants is its first policy's. A
     dict: root, settings, policy. */}}
{{- define "bon.thinkingOf" -}}
{{- $policy := get .settings.policies .policy -}}
{{- if hasKey $policy "of" -}}{{- $policy = get .settings.policies (first $policy.of).policy -}}{{- end -}}
{{- $defaults := .root.Files.Get "files/defaults.json" | fromJson -}}
{{- if kindIs "map" $policy.thinking -}}{{- toJson (merge (deepCopy $policy.thinking) $defaults.thinking) -}}{{- end -}}
{{- end -}}

{{/* What the gateway would refuse at its start. A dict: settings, models, key. */}}
{{- define "bon.validateModels" -}}
{{- $root := .root -}}
{{- $settings := .settings -}}
{{- $key := .key -}}
{{- $kinds := .root.Files.Get "files/strategies.json" | fromJson -}}
{{- $defaults := .root.Files.Get "files/defaults.json" | fromJson -}}
{{- if not $settings.policies -}}
{{- fail "generators: there is neither a generator nor a policy in gateway.settings.policies" -}}
{{- end -}}
{{- if not .models -}}
{{- fail (printf "%s: name at least one served model" $key) -}}
{{- end -}}
{{- range $name, $composed := $settings.policies -}}
{{- $labels := list -}}
{{- range $place, $variant := get $composed "of" | default list -}}
{{- $path := printf "gateway.settings.policies.%s.of.%d" $name $place -}}
{{- $policy := get $settings.policies $variant.policy | default dict -}}
{{- if or (not $policy) (hasKey $policy "of") -}}
{{- fail (printf "%s.policy: no policy with a model of its own is named %q" $path $variant.policy) -}}
{{- end -}}
{{- if and $variant.model (ne $policy.type "vllm") -}}
{{- fail (printf "%s.model: policy %q has only one model" $path $variant.policy) -}}
{{- end -}}
{{- $first := (first $composed.of).policy -}}
{{- if ne (include "bon.thinkingOf" (dict "root" $root "settings" $settings "policy" $variant.policy)) (include "bon.thinkingOf" (dict "root" $root "settings" $settings "policy" $first)) -}}
{{- fail (printf "%s.policy: %q has another thinking than %q" $path $variant.policy $first) -}}
{{- end -}}
{{- $label := $variant.name | default $variant.policy -}}
{{- if has $label $labels -}}
{{- fail (printf "gateway.settings.policies.%s: two variants are called %q" $name $label) -}}
{{- end -}}
{{- $labels = append $labels $label -}}
{{- end -}}
{{- end -}}
{{- $limits := default dict $settings.limits -}}
{{- $maxN := default $defaults.maxN $limits.max_n | int -}}
{{- if gt $maxN (default $defaults.maxCandidates $limits.max_candidates | int) -}}
{{- fail "gateway.settings.limits.max_candidates: must not be below limits.max_n" -}}
{{- end -}}
{{- range $name, $model := .models -}}
{{- $strategy := $model.strategy -}}
{{- if not (hasKey $settings.policies $model.policy) -}}
{{- fail (printf "%s.%s.policy: no policy is named %q" $key $name $model.policy) -}}
{{- end -}}
{{- if and $model.reward (not (hasKey $settings.rewards $model.reward)) -}}
{{- fail (printf "%s.%s.reward: no reward is named %q" $key $name $model.reward) -}}
{{- end -}}
{{- if and $model.reward $model.rewards -}}
{{- fail (printf "%s.%s.rewards: there is a reward already; set one of the two" $key $name) -}}
{{- end -}}
{{- range $place, $member := $model.rewards -}}
{{- if not (hasKey $settings.rewards $member.reward) -}}
{{- fail (printf "%s.%s.rewards.%d.reward: no reward is named %q" $key $name $place $member.reward) -}}
{{- end -}}
{{- end -}}
{{- range $place := list "similarity" "extract" -}}
{{- with dig $place "embedder" "" $strategy -}}
{{- if not (hasKey (default dict $settings.embedders) .) -}}
{{- fail (printf "%s.%s.strategy.%s.embedder: no embedder is named %q" $key $name $place .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq $strategy.type "cascade" -}}
{{- $path := printf "%s.%s.strategy.first" $key $name -}}
{{- if not (hasKey $settings.policies $strategy.first) -}}
{{- fail (printf "%s: no policy is named %q" $path $strategy.first) -}}
{{- end -}}
{{- if ne (include "bon.thinkingOf" (dict "root" $root "settings" $settings "policy" $strategy.first)) (include "bon.thinkingOf" (dict "root" $root "settings" $settings "policy" $model.policy)) -}}
{{- fail (printf "%s: %q has another thinking than %q" $path $strategy.first $model.policy) -}}
{{- end -}}
{{- end -}}
{{- $kind := get $kinds $strategy.type -}}
{{- $counts := dict -}}
{{- $sum := 0 -}}
{{- range $count, $default := $kind.counts -}}
{{- $_ := set $counts $count (default $default (get $strategy $count) | int) -}}
{{- $sum = add $sum (get $counts $count) -}}
{{- end -}}
{{- $drawn := max 1 $sum | int -}}
{{- with $kind.cap -}}
{{- $eighths := ternary .eighthsInWaves .eighths (not (empty $strategy.wave)) | int -}}
{{- $drawn = default (add $counts.n (div (add (mul $counts.n $eighths) 7) 8)) $strategy.cap | int -}}
{{- $least := add $counts.n .above | int -}}
{{- if lt $drawn $least -}}
{{- fail (printf "%s.%s.strategy.cap: must be at least %d, with n %d" $key $name $least $counts.n) -}}
{{- end -}}
{{- end -}}
{{- if and $kind.needsReward (not (or $model.reward $model.rewards)) -}}
{{- fail (printf "%s.%s.reward: strategy %s needs a reward" $key $name $strategy.type) -}}
{{- end -}}
{{- if and (hasKey $counts "n") (gt (default 1 $strategy.min_candidates | int) $counts.n) -}}
{{- fail (printf "%s.%s.strategy.min_candidates: is above n (%d)" $key $name $counts.n) -}}
{{- end -}}
{{- if gt $drawn $maxN -}}
{{- fail (printf "%s.%s.strategy: it draws %d candidates, above limits.max_n (%d)" $key $name $drawn $maxN) -}}
{{- end -}}
{{- if and $limits.max_candidates_per_key (gt $drawn (int $limits.max_candidates_per_key)) -}}
{{- fail (printf "gateway.settings.limits.max_candidates_per_key: must not be below the %d candidates that %s.%s draws" $drawn $key $name) -}}
{{- end -}}
{{- range $limit := list "max_tokens_per_request" "tokens_per_key" -}}
{{- $tokens := get $limits $limit -}}
{{- if and $tokens (gt $drawn (int $tokens)) -}}
{{- fail (printf "gateway.settings.limits.%s: must not be below the %d candidates that %s.%s draws" $limit $drawn $key $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "bon.validateScaling" -}}
{{- range (include "bon.deployments" . | fromYaml).units -}}
{{- $scaling := .autoscaling -}}
{{- if and $scaling.hpa $scaling.keda -}}
{{- fail (printf "%s.autoscaling: hpa and keda would scale against each other; choose one" .key) -}}
{{- end -}}
{{- if or $scaling.hpa $scaling.keda -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail (printf "%s.autoscaling.minReplicas: is above maxReplicas" .key) -}}
{{- end -}}
{{- if and $scaling.hpa (eq .role "generator") (not $.Values.monitoring.prometheusRule.enabled) -}}
{{- fail (printf "%s.autoscaling.hpa: needs monitoring.prometheusRule.enabled, which records its metric" .key) -}}
{{- end -}}
{{- if and $scaling.hpa (not $scaling.target) (not $scaling.cpuPercent) -}}
{{- fail (printf "%s.autoscaling.hpa: set target, cpuPercent or both" .key) -}}
{{- end -}}
{{- if and $scaling.keda (not $scaling.target) -}}
{{- fail (printf "%s.autoscaling.target: is required by keda" .key) -}}
{{- end -}}
{{- if and $scaling.keda $scaling.cpuPercent -}}
{{- fail (printf "%s.autoscaling.cpuPercent: is for hpa alone" .key) -}}
{{- end -}}
{{- if and $scaling.keda (not $.Values.keda.prometheusAddress) -}}
{{- fail (printf "keda.prometheusAddress: is required by %s.autoscaling.keda" .key) -}}
{{- end -}}
{{- end -}}
{{- if and (has (toString .updateStrategy.maxSurge) (list "0" "0%")) (has (toString .updateStrategy.maxUnavailable) (list "0" "0%")) -}}
{{- fail (printf "%s.updateStrategy: maxSurge and maxUnavailable cannot both be 0" .key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "bon.validateTrainers" -}}
{{- range $name, $unit := include "bon.trainers" . | fromYaml -}}
{{- $key := printf "trainers.%s" $name -}}
{{- if not $unit.command -}}
{{- fail (printf "%s.command: is required, such as dpo" $key) -}}
{{- end -}}
{{- if and (gt (int $unit.processes) 1) (eq $unit.command "ppo") -}}
{{- fail (printf "%s.processes: ppo trains in one process" $key) -}}
{{- end -}}
{{- if and (gt (int $unit.gpu.count) 0) (gt (int $unit.processes) (int $unit.gpu.count)) -}}
{{- fail (printf "%s.processes: is above gpu.count, and each needs a GPU" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
