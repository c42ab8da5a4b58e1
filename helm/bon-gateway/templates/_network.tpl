{{/* Ports of the upstreams elsewhere, out of their addresses: a list under `ports`, each once. */}}
{{- define "bon.externalPorts" -}}
{{- $ports := list -}}
{{- range concat (values .Values.gateway.settings.policies) (values .Values.gateway.settings.rewards) (values (default dict .Values.gateway.settings.embedders)) -}}
{{- range get . "urls" | default list -}}
{{- $host := (urlParse .).host -}}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" -}}
{{- $ports = append $ports (int (default (hasPrefix "https:" . | ternary "443" "80") $port)) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "ports" ($ports | uniq)) -}}
{{- end -}}
