{{/* What all objects' names begin with; the parts' own endings take up to 20 of the 63 characters. */}}
{{- define "wattlease.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- end }}

{{/* Labels of an object; called with (list $ "operator"). */}}
{{- define "wattlease.labels" -}}
{{- $top := index . 0 -}}
{{ include "wattlease.selector" . }}
app.kubernetes.io/version: {{ $top.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: wattlease
app.kubernetes.io/managed-by: {{ $top.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $top.Chart.Name $top.Chart.Version | replace "+" "_" }}
{{- with $top.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* By which a part's pods are found; it can never change. */}}
{{- define "wattlease.selector" -}}
app.kubernetes.io/name: wattlease
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image by digest where there is one; called with (list $ .Values.operator.image). */}}
{{- define "wattlease.image" -}}
{{- $image := index . 1 -}}
{{ $image.repository }}:{{ default (index . 0).Chart.AppVersion $image.tag }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Where agents ask; the name stands in the certificate. */}}
{{- define "wattlease.leasesHost" -}}
{{ include "wattlease.name" . }}-leases.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "wattlease.tlsSecret" -}}
{{- default (printf "%s-tls" (include "wattlease.name" .)) .Values.certificates.existing.secretName -}}
{{- end }}

{{- define "wattlease.authority" -}}
{{- default (printf "%s-authority" (include "wattlease.name" .)) .Values.certificates.authorityConfigMap -}}
{{- end }}

{{- define "wattlease.agentAccount" -}}
{{ include "wattlease.name" . }}-agent
{{- end }}
