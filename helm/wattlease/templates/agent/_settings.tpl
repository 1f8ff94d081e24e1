{{/* The agent's settings but for its node's name, which each pod puts before them. */}}
{{- define "wattlease.agentSettings" -}}
{{- $a := .Values.agent -}}
{{- $set := dict
  "backend" $a.backend
  "grantors" (list (printf "https://%s:%v" (include "wattlease.leasesHost" .) .Values.service.leases.port))
  "authority" "/etc/wattlease/authority/ca.crt"
  "tokenFile" "/var/run/secrets/wattlease/token"
  "stateFolder" "/var/lib/wattlease"
  "hintsFolder" "/run/wattlease/hints"
  "listen" "0.0.0.0:8945"
  "overhead" $a.overhead
-}}
{{- if eq $a.backend "virtual" -}}
{{- $_ := set $set "virtualGpus" "/var/lib/wattlease/virtual.gpus" -}}
{{- $_ := set $set "virtualCards" $a.virtual -}}
{{- end -}}
{{- if not (kindIs "invalid" $a.fallbackWatts) -}}
{{- $_ := set $set "fallbackWatts" $a.fallbackWatts -}}
{{- end -}}
{{- if $a.rapl -}}
{{- $_ := set $set "raplFolder" "/host/sys/class/powercap" -}}
{{- end -}}
{{- if $a.redfish.settings -}}
{{- $_ := set $set "redfish" $a.redfish.settings -}}
{{- end -}}
{{- toYaml (mergeOverwrite $set (deepCopy $a.settings)) -}}
{{- end }}
