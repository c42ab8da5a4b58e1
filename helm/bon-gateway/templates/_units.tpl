{{/* What each unit is: its values merged over the defaults, and what follows from its name. */}}

{{/* Generators that are enabled: a map of name to merged values with name, fullname, port added. */}}
{{- define "bon.generators" -}}
{{- $root := . -}}
{{- $units := dict -}}
{{- range $name, $own := .Values.generators -}}
{{- $unit := mergeOverwrite (deepCopy $root.Values.generatorDefaults) (deepCopy (default dict $own)) -}}
{{- if $unit.enabled -}}
{{- $_ := set $unit "pod" (mergeOverwrite (deepCopy $root.Values.pod) (deepCopy $root.Values.generatorDefaults.pod) (deepCopy $unit.pod)) -}}
{{- $_ := set $unit "fullname" (printf "%s-generator-%s" (include "bon.fullname" $root) $name) -}}
{{- $_ := set $unit "servedName" (default $name $unit.servedName) -}}
{{- $_ := set $unit "port" 8000 -}}
{{- $_ := set $unit "keyVariable" (printf "BON_UPSTREAM_GENERATOR_%s_KEY" ($name | upper | replace "-" "_")) -}}
{{- $_ := set $units $name $unit -}}
{{- end -}}
{{- end -}}
{{- toYaml $units -}}
{{- end -}}

{{/* Reward servers that are enabled, likewise. */}}
{{- define "bon.rewardServers" -}}
{{- $root := . -}}
{{- $units := dict -}}
{{- range $name, $own := .Values.rewardServers -}}
{{- $unit := mergeOverwrite (deepCopy $root.Values.rewardServerDefaults) (deepCopy (default dict $own)) -}}
{{- if $unit.enabled -}}
{{- $_ := set $unit "pod" (mergeOverwrite (deepCopy $root.Values.pod) (deepCopy $root.Values.rewardServerDefaults.pod) (deepCopy $unit.pod)) -}}
{{- $_ := set $unit "fullname" (printf "%s-reward-%s" (include "bon.fullname" $root) $name) -}}
{{- $_ := set $unit "port" 8081 -}}
{{- $_ := set $unit "keyVariable" (printf "BON_UPSTREAM_REWARD_%s_KEY" ($name | upper | replace "-" "_")) -}}
{{- $_ := set $units $name $unit -}}
{{- end -}}
{{- end -}}
{{- toYaml $units -}}
{{- end -}}

{{/* Trainers that are enabled, likewise. */}}
{{- define "bon.trainers" -}}
{{- $root := . -}}
{{- $units := dict -}}
{{- range $name, $own := .Values.trainers -}}
{{- $unit := mergeOverwrite (deepCopy $root.Values.trainerDefaults) (deepCopy (default dict $own)) -}}
{{- if $unit.enabled -}}
{{- $_ := set $unit "pod" (mergeOverwrite (deepCopy $root.Values.pod) (deepCopy $root.Values.trainerDefaults.pod) (deepCopy $unit.pod)) -}}
{{- $_ := set $unit "fullname" (printf "%s-trainer-%s" (include "bon.fullname" $root) $name) -}}
{{- $_ := set $units $name $unit -}}
{{- end -}}
{{- end -}}
{{- toYaml $units -}}
{{- end -}}

{{/* The gateway and its second one: a list under `units`, each with track, fullname, replicas. */}}
{{- define "bon.gateways" -}}
{{- $fullname := printf "%s-gateway" (include "bon.fullname" .) -}}
{{- $units := list (dict "track" "stable" "fullname" $fullname "replicas" .Values.gateway.replicas "autoscaled" (or .Values.gateway.autoscaling.hpa .Values.gateway.autoscaling.keda)) -}}
{{- if .Values.gateway.rollout.enabled -}}
{{- $units = append $units (dict "track" "rollout" "fullname" (printf "%s-rollout" $fullname) "replicas" .Values.gateway.rollout.replicas "autoscaled" false) -}}
{{- end -}}
{{- toYaml (dict "units" $units) -}}
{{- end -}}

{{/* Every Deployment, for budgets and autoscalers: a list under `units`. */}}
{{- define "bon.deployments" -}}
{{- $units := list -}}
{{- range (include "bon.gateways" . | fromYaml).units -}}
{{- $autoscaling := eq .track "stable" | ternary $.Values.gateway.autoscaling dict -}}
{{- $units = append $units (dict "role" "gateway" "unit" .track "fullname" .fullname "autoscaling" $autoscaling "disruptionBudget" $.Values.gateway.disruptionBudget "updateStrategy" $.Values.gateway.updateStrategy "key" "gateway") -}}
{{- end -}}
{{- range $name, $unit := include "bon.generators" . | fromYaml -}}
{{- $units = append $units (dict "role" "generator" "unit" $name "fullname" $unit.fullname "autoscaling" $unit.autoscaling "disruptionBudget" $unit.disruptionBudget "updateStrategy" $unit.updateStrategy "key" (printf "generators.%s" $name)) -}}
{{- end -}}
{{- range $name, $unit := include "bon.rewardServers" . | fromYaml -}}
{{- $units = append $units (dict "role" "reward-server" "unit" $name "fullname" $unit.fullname "autoscaling" $unit.autoscaling "disruptionBudget" $unit.disruptionBudget "updateStrategy" $unit.updateStrategy "key" (printf "rewardServers.%s" $name)) -}}
{{- end -}}
{{- toYaml (dict "units" $units) -}}
{{- end -}}
