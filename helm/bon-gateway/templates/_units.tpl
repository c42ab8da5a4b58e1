{{/* What each unit is: its values merged over the defaults, and what follows from its name. */}}

{{/* The enabled entries of a section: a map of name to values, merged over the defaults, with pod
     (all levels of it), fullname and keyVariable added. A dict: root, section, defaults, suffix (of
     names). */}}
{{- define "bon.merged" -}}
{{- $root := .root -}}
{{- $defaults := get $root.Values .defaults -}}
{{- $suffix := .suffix -}}
{{- $units := dict -}}
{{- range $name, $own := get $root.Values .section -}}
{{- $unit := mergeOverwrite (deepCopy $defaults) (deepCopy (default dict $own)) -}}
{{- if $unit.enabled -}}
{{- $_ := set $unit "pod" (mergeOverwrite (deepCopy $root.Values.pod) (deepCopy $unit.pod)) -}}
{{- $_ := set $unit "fullname" (printf "%s-%s-%s" (include "bon.fullname" $root) $suffix $name) -}}
{{- $_ := set $unit "keyVariable" (printf "BON_UPSTREAM_%s_%s_KEY" $suffix $name | upper | replace "-" "_") -}}
{{- $_ := set $units $name $unit -}}
{{- end -}}
{{- end -}}
{{- toYaml $units -}}
{{- end -}}

{{- define "bon.generators" -}}
{{- $units := include "bon.merged" (dict "root" . "section" "generators" "defaults" "generatorDefaults" "suffix" "generator") | fromYaml -}}
{{- range $name, $unit := $units -}}
{{- $_ := set $unit "servedName" (default $name $unit.servedName) -}}
{{- $_ := set $unit "port" 8000 -}}
{{- end -}}
{{- toYaml $units -}}
{{- end -}}

{{- define "bon.rewardServers" -}}
{{- $units := include "bon.merged" (dict "root" . "section" "rewardServers" "defaults" "rewardServerDefaults" "suffix" "reward") | fromYaml -}}
{{- range $name, $unit := $units -}}{{- $_ := set $unit "port" 8081 -}}{{- end -}}
{{- toYaml $units -}}
{{- end -}}

{{- define "bon.trainers" -}}
{{- include "bon.merged" (dict "root" . "section" "trainers" "defaults" "trainerDefaults" "suffix" "trainer") -}}
{{- end -}}

{{/* The gateway and its second one: a list under `units`, each with track, fullname, replicas. */}}
{{- define "bon.gateways" -}}
{{- $fullname := printf "%s-gateway" (include "bon.fullname" .) -}}
{{- $units := list (dict "track" "stable" "fullname" $fullname "replicas" .Values.gateway.replicas "autoscaled" (or .Values.gateway.autoscaling.hpa .Values.gateway.autoscaling.keda)) -}}
{{- if .Values.gateway.rollout.enabled -}}
{{- $units = append $units (dict "track" "rollout" "fullname" (printf "%s-rollout" $fullname) "replicas" .Values.gateway.rollout.replicas "autoscaled" (or .Values.gateway.rollout.autoscaling.hpa .Values.gateway.rollout.autoscaling.keda)) -}}
{{- end -}}
{{- toYaml (dict "units" $units) -}}
{{- end -}}

{{/* Every Deployment, for budgets and autoscalers: a list under `units`. */}}
{{- define "bon.deployments" -}}
{{- $units := list -}}
{{- range (include "bon.gateways" . | fromYaml).units -}}
{{- $autoscaling := eq .track "stable" | ternary $.Values.gateway.autoscaling $.Values.gateway.rollout.autoscaling -}}
{{- $units = append $units (dict "role" "gateway" "unit" .track "fullname" .fullname "autoscaling" $autoscaling "disruptionBudget" $.Values.gateway.disruptionBudget "updateStrategy" $.Values.gateway.updateStrategy "key" (eq .track "stable" | ternary "gateway" "gateway.rollout")) -}}
{{- end -}}
{{- range $name, $unit := include "bon.generators" . | fromYaml -}}
{{- $units = append $units (dict "role" "generator" "unit" $name "fullname" $unit.fullname "autoscaling" $unit.autoscaling "disruptionBudget" $unit.disruptionBudget "updateStrategy" $unit.updateStrategy "key" (printf "generators.%s" $name)) -}}
{{- end -}}
{{- range $name, $unit := include "bon.rewardServers" . | fromYaml -}}
{{- $units = append $units (dict "role" "reward-server" "unit" $name "fullname" $unit.fullname "autoscaling" $unit.autoscaling "disruptionBudget" $unit.disruptionBudget "updateStrategy" $unit.updateStrategy "key" (printf "rewardServers.%s" $name)) -}}
{{- end -}}
{{- toYaml (dict "units" $units) -}}
{{- end -}}
