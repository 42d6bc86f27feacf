{{- define "lucid.labels" -}}
app.kubernetes.io/name: lucid
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "lucid.selector" -}}
app.kubernetes.io/name: lucid
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lucid.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "lucid.pod" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "lucid.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "lucid.serving" -}}
ports:
  - {name: http, containerPort: 7311}
# Health, not readiness: a sidecar is ready once the agent, which waits for this, has begun.
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 6
{{- end }}

{{- define "lucid.env" -}}
- name: LUCID_STORE
  valueFrom: {secretKeyRef: {name: {{ .Values.secrets.lucid }}, key: store}}
- name: LUCID_STORE_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.secrets.lucid }}, key: store-key}}
- {name: LUCID_TOKEN_FILE, value: /etc/lucid/secret/token}
- {name: LUCID_LOG_FORMAT, value: json}
# When each series began: as many series again, of no use to Prometheus.
- {name: PROMETHEUS_DISABLE_CREATED_SERIES, value: "true"}
{{- end }}

{{- define "lucid.volumes" -}}
- name: token
  secret:
    secretName: {{ .Values.secrets.lucid }}
    items: [{key: token, path: token}]
    defaultMode: 0440
{{- with .Values.policies }}
- {name: policies, configMap: {name: {{ . }}}}
{{- end }}
{{- end }}

{{- define "lucid.mounts" -}}
- {name: token, mountPath: /etc/lucid/secret, readOnly: true}
{{- if .Values.policies }}
- {name: policies, mountPath: /etc/lucid/policies, readOnly: true}
{{- end }}
{{- end }}
