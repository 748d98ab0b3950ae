package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oasdiff/yaml3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema compiles a part of a schema of testdata.
func schema(t *testing.T, file, part string) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("file:///"+file, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("file:///" + file + part)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// documents are those of a YAML file.
func documents(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc map[string]any
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, doc)
	}
}

// into is a document as v has it.
func into(t *testing.T, doc, v any) {
	t.Helper()
	b, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var kinds = map[string]string{
	"apps/v1 Deployment":       "#/$defs/io.k8s.api.apps.v1.Deployment",
	"v1 Service":               "#/$defs/io.k8s.api.core.v1.Service",
	"v1 PersistentVolumeClaim": "#/$defs/io.k8s.api.core.v1.PersistentVolumeClaim",
}

// manifests are those of kubernetes/, by kind and name, each as its schema has it.
func manifests(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	all := map[string]map[string]any{}
	for _, file := range files {
		for _, doc := range documents(t, file) {
			kind := fmt.Sprint(doc["apiVersion"], " ", doc["kind"])
			if kinds[kind] == "" {
				t.Fatalf("%s: %s is not known here", file, kind)
			}
			if err := schema(t, "kubernetes.schema.json", kinds[kind]).Validate(doc); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			all[fmt.Sprint(doc["kind"], " ", doc["metadata"].(map[string]any)["name"])] = doc
		}
	}
	return all
}

// TestSchemasRefuse: what the schemas let pass says something.
func TestSchemasRefuse(t *testing.T) {
	good := documents(t, "kubernetes/mien-service.yaml")[0]
	s := schema(t, "kubernetes.schema.json", kinds["v1 Service"])
	for name, change := range map[string]func(spec map[string]any){
		"unknown field": func(spec map[string]any) { spec["port"] = 1 },
		"wrong type":    func(spec map[string]any) { spec["ports"] = "8080" },
		"in a list":     func(spec map[string]any) { spec["ports"] = []any{map[string]any{"prot": 1, "port": 1}} },
		"missing field": func(spec map[string]any) { spec["ports"] = []any{map[string]any{"name": "x"}} },
	} {
		var doc map[string]any
		into(t, good, &doc)
		change(doc["spec"].(map[string]any))
		if s.Validate(doc) == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

// probe, container and pod are what is looked at of a Deployment.
type probe struct {
	HTTPGet struct{ Path, Port, Scheme string } `json:"httpGet"`
	Period  int                                 `json:"periodSeconds"`
	Fails   int                                 `json:"failureThreshold"`
}

type container struct {
	Image string
	Args  []string
	Env   []struct{ Name, Value string }
	Ports []struct {
		Name          string
		ContainerPort int
	}
	StartupProbe    probe
	LivenessProbe   probe
	ReadinessProbe  probe
	Resources       struct{ Requests, Limits map[string]string }
	SecurityContext struct {
		AllowPrivilegeEscalation *bool
		ReadOnlyRootFilesystem   bool
		Capabilities             struct{ Drop []string }
	}
	VolumeMounts []struct {
		Name, MountPath string
		ReadOnly        bool
	}
}

func (c container) env() map[string]string {
	m := map[string]string{}
	for _, e := range c.Env {
		m[e.Name] = e.Value
	}
	return m
}

type deployment struct {
	Spec struct {
		Replicas int
		Strategy struct{ Type string }
		Selector struct{ MatchLabels map[string]string }
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Containers                    []container
				TerminationGracePeriodSeconds int
				AutomountServiceAccountToken  *bool
				EnableServiceLinks            *bool
				SecurityContext               struct {
					RunAsNonRoot          bool
					RunAsUser, RunAsGroup int
					FSGroup               int `json:"fsGroup"`
					SeccompProfile        struct{ Type string }
				}
				Volumes []struct {
					Name                  string
					PersistentVolumeClaim *struct{ ClaimName string }
					Secret                *struct{ SecretName string }
				}
			}
		}
	}
}

// TestKubernetes: the manifests fit each other, the program and the image.
func TestKubernetes(t *testing.T) {
	all := manifests(t)
	var d deployment
	into(t, all["Deployment mien"], &d)
	pod := d.Spec.Template.Spec
	if d.Spec.Replicas != 1 || d.Spec.Strategy.Type != "Recreate" {
		t.Errorf("%d replicas, %s: a store is one process's", d.Spec.Replicas, d.Spec.Strategy.Type)
	}
	if len(pod.Containers) != 1 || fmt.Sprint(d.Spec.Selector.MatchLabels) != fmt.Sprint(d.Spec.Template.Metadata.Labels) {
		t.Fatalf("%+v", d.Spec)
	}
	c := pod.Containers[0]
	env := c.env()
	if len(c.Ports) != 1 || !strings.HasSuffix(env["MIEN_LISTEN"], fmt.Sprint(":", c.Ports[0].ContainerPort)) {
		t.Errorf("ports %v, listens on %s", c.Ports, env["MIEN_LISTEN"])
	}
	for name, p := range map[string]struct {
		probe
		path string
	}{"startup": {c.StartupProbe, "/healthz"}, "liveness": {c.LivenessProbe, "/healthz"}, "readiness": {c.ReadinessProbe, "/readyz"}} {
		if p.HTTPGet.Path != p.path || p.HTTPGet.Port != c.Ports[0].Name || p.Period == 0 || p.Fails == 0 {
			t.Errorf("%s probe: %+v", name, p)
		}
	}
	if s := c.SecurityContext; s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("the container's rights: %+v", s)
	}
	if s := pod.SecurityContext; !s.RunAsNonRoot || fmt.Sprint(s.RunAsUser, ":", s.RunAsGroup) != theDockerfile(t).last("USER") || s.FSGroup != s.RunAsGroup || s.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("the pod's rights: %+v", s)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
		t.Error("the pod is told of the cluster what it does not need")
	}
	if c.Resources.Requests["memory"] == "" || c.Resources.Requests["cpu"] == "" || c.Resources.Limits["memory"] == "" {
		t.Errorf("resources: %+v", c.Resources)
	}
	if drain := env["MIEN_DRAIN_DELAY"]; drain != "5s" || pod.TerminationGracePeriodSeconds < 5+30+5 { // cmd/mien's stopTimeout is 30 s
		t.Errorf("%d s to stop, of which %s drain", pod.TerminationGracePeriodSeconds, drain)
	}
	checkVolumes(t, all, d)
	checkServices(t, all, d)
}

func checkVolumes(t *testing.T, all map[string]map[string]any, d deployment) {
	t.Helper()
	pod := d.Spec.Template.Spec
	from := map[string]string{}
	for _, v := range pod.Volumes {
		if v.PersistentVolumeClaim != nil {
			from[v.Name] = "PersistentVolumeClaim " + v.PersistentVolumeClaim.ClaimName
		} else if v.Secret != nil {
			from[v.Name] = "Secret"
		}
	}
	env := pod.Containers[0].env()
	mounted := map[string]string{}
	for _, m := range pod.Containers[0].VolumeMounts {
		mounted[m.MountPath] = from[m.Name]
		if m.ReadOnly != (from[m.Name] == "Secret") {
			t.Errorf("%s is read-only: %v", m.MountPath, m.ReadOnly)
		}
	}
	if claim := mounted[env["MIEN_DATA"]]; all[claim] == nil {
		t.Errorf("the data folder is on %q, which no manifest has", claim)
	}
	if mounted[filepath.Dir(env["MIEN_MASTER_KEY_FILE"])] != "Secret" {
		t.Error("the master key is no secret")
	}
}

func checkServices(t *testing.T, all map[string]map[string]any, d deployment) {
	t.Helper()
	for name, port := range map[string]int{"mien": 8080, "youverse-authentication-api": 5006} {
		var s struct {
			Spec struct {
				Type     string
				Selector map[string]string
				Ports    []struct {
					Port       int
					TargetPort string
				}
			}
		}
		into(t, all["Service "+name], &s)
		if s.Spec.Type != "ClusterIP" || fmt.Sprint(s.Spec.Selector) != fmt.Sprint(d.Spec.Template.Metadata.Labels) ||
			len(s.Spec.Ports) != 1 || s.Spec.Ports[0].Port != port || s.Spec.Ports[0].TargetPort != d.Spec.Template.Spec.Containers[0].Ports[0].Name {
			t.Errorf("%s: %+v", name, s.Spec)
		}
	}
}

// composed is the service of compose.yaml.
type composed struct {
	Build       struct{ Target string }
	Ports       []string
	Environment map[string]string
	Volumes     []string
	ReadOnly    bool                    `json:"read_only"`
	CapDrop     []string                `json:"cap_drop"`
	SecurityOpt []string                `json:"security_opt"`
	Stop        string                  `json:"stop_grace_period"`
	Health      struct{ Test []string } `json:"healthcheck"`
}

func compose(t *testing.T) composed {
	t.Helper()
	doc := documents(t, "../../compose.yaml")[0]
	if err := schema(t, "compose.schema.json", "").Validate(doc); err != nil {
		t.Error(err)
	}
	var file struct{ Services map[string]composed }
	into(t, doc, &file)
	return file.Services["mien"]
}

// TestCompose: the compose file fits the program and the image.
func TestCompose(t *testing.T) {
	s := compose(t)
	d := theDockerfile(t)
	if !slices.Equal(s.Ports, []string{"127.0.0.1:${MIEN_PORT:-8080}:" + d.last("EXPOSE")}) {
		t.Errorf("ports %v: the loopback address, 8080 unless MIEN_PORT is set", s.Ports)
	}
	if s.Build.Target != "${MIEN_TARGET:-mien}" || d.stage("mien") == nil || d.stage("bare") == nil {
		t.Errorf("target %s", s.Build.Target)
	}
	if !slices.Equal(s.Volumes, []string{"data:" + d.env()["MIEN_DATA"]}) {
		t.Errorf("volumes %v", s.Volumes)
	}
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) || s.Stop != "45s" {
		t.Errorf("%+v", s)
	}
}

// TestVariables: what is set for mien is what mien serve has.
func TestVariables(t *testing.T) {
	help, err := exec.Command(program(t), "serve", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	var d deployment
	into(t, manifests(t)["Deployment mien"], &d)
	set := d.Spec.Template.Spec.Containers[0].env()
	for _, more := range []map[string]string{compose(t).Environment, theDockerfile(t).env()} {
		maps.Copy(set, more)
	}
	known := regexp.MustCompile(`\$[A-Z_]+`).FindAllString(string(help), -1)
	for name := range set {
		if name != "GOMEMLIMIT" && !slices.Contains(known, "$"+name) {
			t.Errorf("%s is set, and mien serve has no such variable", name)
		}
	}
	if len(set) < 6 {
		t.Errorf("only %d variables were looked at", len(set))
	}
}
