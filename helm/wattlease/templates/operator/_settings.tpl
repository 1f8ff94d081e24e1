{{/* The operator's settings file: what the chart knows, and over it what operator.settings says. */}}
{{- define "wattlease.operatorSettings" -}}
{{- $o := .Values.operator -}}
{{- $page := printf "%s-page" (include "wattlease.name" .) -}}
{{- $names := list $page (printf "%s.%s" $page .Release.Namespace) (printf "%s.%s.svc" $page .Release.Namespace) -}}
{{- $listen := dict
  "host" "0.0.0.0"
  "port" 8943
  "certificate" "/etc/wattlease/tls/tls.crt"
  "key" "/etc/wattlease/tls/tls.key"
  "accounts" (list (printf "%s:%s" .Release.Namespace (include "wattlease.agentAccount" .)))
-}}
{{- $set := dict
  "cluster" .Values.cluster
  "namespace" .Release.Namespace
  "gpuResource" $o.gpuResource
  "productLabel" $o.productLabel
  "countLabel" $o.countLabel
  "products" $o.products
  "otherProducts" $o.otherProducts
  "listen" $listen
  "page" (dict "host" "0.0.0.0" "port" 8080 "names" (concat $names .Values.service.page.names))
  "stateFolder" "/var/lib/wattlease"
-}}
{{- if $o.rootBudget -}}
{{- $_ := set $set "rootBudget" $o.rootBudget -}}
{{- end -}}
{{- if $o.record -}}
{{- $_ := set $set "recordFolder" "/var/lib/wattlease/record" -}}
{{- end -}}
{{- toYaml (mergeOverwrite $set (deepCopy $o.settings)) -}}
{{- end }}
