package test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"evolution-openai-patch/test/pgtest"
)

// documents decodes the documents of a YAML file.
func documents(t *testing.T, file string) (all []map[string]any) {
	t.Helper()
	for decoder := yaml.NewDecoder(bytes.NewReader([]byte(read(t, file)))); ; {
		var d map[string]any
		err := decoder.Decode(&d)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
}

// at returns what a document has at a path.
func at(document any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := document.(map[string]any)
			document = m[step]
		case int:
			list, _ := document.([]any)
			if step >= len(list) {
				return nil
			}
			document = list[step]
		}
	}
	return document
}

// deployed returns the files to deploy by their paths from the root folder.
func deployed(t *testing.T) []string {
	t.Helper()
	all := []string{"compose.example.yml"}
	for _, pattern := range []string{"deploy/*", "deploy/*/*"} {
		for _, file := range pgtest.Glob(t, pgtest.Root(pattern)) {
			if name, err := filepath.Rel(pgtest.Root(), file); err == nil && filepath.Ext(name) != "" {
				all = append(all, name)
			}
		}
	}
	return all
}

// The stack for Portainer is compose.example.yml without a build.
func TestPortainerStackIsTheExample(t *testing.T) {
	example, stack := documents(t, "compose.example.yml")[0], documents(t, "deploy/portainer-stack.yml")[0]
	service, _ := at(example, "services", module).(map[string]any)
	if service["build"] != "." {
		t.Error("compose.example.yml does not build the image")
	}
	delete(service, "build")
	if !reflect.DeepEqual(example, stack) {
		t.Errorf("deploy/portainer-stack.yml differs:\n%v\n%v", example, stack)
	}
}

// No file starts with a password that everybody knows: it is asked for, under a name that the top of the file explains.
func TestStacksAskForPasswords(t *testing.T) {
	asked := regexp.MustCompile(`\$\{([A-Z_]+):\?[^}]+\}`)
	for _, file := range deployed(t) {
		text := read(t, file)
		if strings.Contains(text, pgtest.ExamplePassword) {
			t.Errorf("%s contains a password", file)
		}
		top, _, _ := strings.Cut(text, "\nservices:")
		for _, name := range asked.FindAllStringSubmatch(text, -1) {
			if !regexp.MustCompile(`(?m)^#.*\b` + name[1] + `\b`).MatchString(top) {
				t.Errorf("%s asks for %s, and its top does not say what that is", file, name[1])
			}
		}
	}
	for file, names := range map[string][]string{
		"compose.example.yml": {"POSTGRES_PASSWORD", "AUTHENTICATION_API_KEY"}, "deploy/compose.watch.yml": {"POSTGRES_PASSWORD", "AUTHENTICATION_API_KEY"},
		"deploy/portainer-stack.yml": {"POSTGRES_PASSWORD", "AUTHENTICATION_API_KEY"}, "deploy/swarm.yml": {"DATABASE_CONNECTION_URI", "AUTHENTICATION_API_KEY"},
	} {
		var found []string
		for _, name := range asked.FindAllStringSubmatch(read(t, file), -1) {
			found = append(found, name[1])
		}
		if !slices.Equal(found, names) {
			t.Errorf("%s asks for %q, want %q", file, found, names)
		}
	}
}

// Every Evolution takes requests for OpenAI, keeps its sessions in a volume and uses the release that was tested.
func TestStacksOfEvolution(t *testing.T) {
	found := 0
	for _, file := range deployed(t) {
		text := read(t, file)
		if !strings.Contains(text, "image: evoapicloud/evolution-api") {
			continue
		}
		found++
		for _, want := range []string{`OPENAI_ENABLED(: "true"|=true|\b.*\n +value: "true")`, `instances(:|, mountPath: )/evolution/instances`, `evolution-api:v2\.3\.7\n`, `PATCH_FIXES(: |=|\b.*\n +value: )apikey-index,apikey-check`} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("%s has no %s", file, want)
			}
		}
	}
	if found != 8 {
		t.Errorf("%d files have an Evolution, want 8", found)
	}
}

// The manifests with an Evolution hold a Service, a claim and a Deployment that fit together, and no Secret.
func TestKubernetesManifests(t *testing.T) {
	const name = "evolution-shared-key"
	for _, file := range []string{"deploy/kubernetes.yaml", "deploy/kubernetes.sidecar.yaml"} {
		var kinds []string
		byKind := map[string]map[string]any{}
		for _, d := range documents(t, file) {
			kind, _ := d["kind"].(string)
			kinds = append(kinds, kind)
			byKind[kind] = d
			if at(d, "metadata", "name") != name {
				t.Errorf("%s: a %s is named %v", file, kind, at(d, "metadata", "name"))
			}
		}
		if !slices.Equal(kinds, []string{"Service", "PersistentVolumeClaim", "Deployment"}) {
			t.Errorf("%s holds %q", file, kinds)
		}
		deployment, service := byKind["Deployment"], byKind["Service"]
		pod := at(deployment, "spec", "template", "spec")
		for what, pair := range map[string][2]any{
			"labels":        {at(service, "spec", "selector"), at(deployment, "spec", "template", "metadata", "labels")},
			"selector":      {at(service, "spec", "selector"), at(deployment, "spec", "selector", "matchLabels")},
			"port":          {at(service, "spec", "ports", 0, "targetPort"), at(pod, "containers", 0, "ports", 0, "name")},
			"claim":         {name, at(pod, "volumes", 0, "persistentVolumeClaim", "claimName")},
			"volume":        {at(pod, "volumes", 0, "name"), at(pod, "containers", 0, "volumeMounts", 0, "name")},
			"message":       {"FallbackToLogsOnError", at(pod, "initContainers", 0, "terminationMessagePolicy")},
			"its own image": {module, at(pod, "initContainers", 0, "image")},
			"the secret":    {at(pod, "initContainers", 0, "env", 0, "valueFrom"), at(pod, "containers", 0, "env", 1, "valueFrom")},
		} {
			if pair[0] == nil || !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s: the %s do not fit: %v and %v", file, what, pair[0], pair[1])
			}
		}
		if !strings.Contains(read(t, file), "#   kubectl create secret generic "+name+" ") {
			t.Errorf("%s does not say how to create the Secret", file)
		}
	}
}
