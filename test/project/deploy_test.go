package project

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
	for decoder := yaml.NewDecoder(bytes.NewReader([]byte(pgtest.Read(t, file)))); ; {
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

// The stack for Portainer is compose.example.yml without a build.
func TestPortainerStackIsTheExample(t *testing.T) {
	t.Parallel()
	example, stack := documents(t, "compose.example.yml")[0], documents(t, "deploy/portainer-stack.yml")[0]
	service, _ := pgtest.At(example, "services", pgtest.Module).(map[string]any)
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
	t.Parallel()
	asked := regexp.MustCompile(`\$\{([A-Z_]+):\?[^}]+\}`)
	for _, file := range pgtest.Deployed(t) {
		text := pgtest.Read(t, file)
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
		for _, name := range asked.FindAllStringSubmatch(pgtest.Read(t, file), -1) {
			found = append(found, name[1])
		}
		if !slices.Equal(found, names) {
			t.Errorf("%s asks for %q, want %q", file, found, names)
		}
	}
}

// Every Evolution takes requests for OpenAI, keeps its sessions in a volume and uses the release that was tested.
func TestStacksOfEvolution(t *testing.T) {
	t.Parallel()
	found := 0
	for _, file := range pgtest.Deployed(t) {
		text := pgtest.Read(t, file)
		if !strings.Contains(text, "image: evoapicloud/evolution-api") {
			continue
		}
		found++
		for _, want := range []string{`OPENAI_ENABLED(: "true"|=true|\b.*\n +value: "true")`, `instances(:|, mountPath: )/evolution/instances`, `evolution-api:v2\.3\.7\n`} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("%s has no %s", file, want)
			}
		}
	}
	if found != 8 {
		t.Errorf("%d files have an Evolution, want 8", found)
	}
}

// The defaults do the job, so no file to deploy sets what is theirs.
func TestNothingSetsADefault(t *testing.T) {
	t.Parallel()
	for _, file := range pgtest.Deployed(t) {
		if found := regexp.MustCompile(`PATCH_(FIXES|KEEP_INDEX_NAMES|ON_MISSING_TABLE|WAIT_TIMEOUT)`).FindString(pgtest.Read(t, file)); found != "" {
			t.Errorf("%s sets %s", file, found)
		}
	}
}

// The manifests with an Evolution hold a Service, a claim and a Deployment that fit together, and no Secret.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	const name = "evolution-shared-key"
	for _, file := range []string{"deploy/kubernetes.yaml", "deploy/kubernetes.sidecar.yaml"} {
		var kinds []string
		byKind := map[string]map[string]any{}
		for _, d := range documents(t, file) {
			kind, _ := d["kind"].(string)
			kinds = append(kinds, kind)
			byKind[kind] = d
			if pgtest.At(d, "metadata", "name") != name {
				t.Errorf("%s: a %s is named %v", file, kind, pgtest.At(d, "metadata", "name"))
			}
		}
		if !slices.Equal(kinds, []string{"Service", "PersistentVolumeClaim", "Deployment"}) {
			t.Errorf("%s holds %q", file, kinds)
		}
		deployment, service := byKind["Deployment"], byKind["Service"]
		pod := pgtest.At(deployment, "spec", "template", "spec")
		for what, pair := range map[string][2]any{
			"labels":        {pgtest.At(service, "spec", "selector"), pgtest.At(deployment, "spec", "template", "metadata", "labels")},
			"selector":      {pgtest.At(service, "spec", "selector"), pgtest.At(deployment, "spec", "selector", "matchLabels")},
			"port":          {pgtest.At(service, "spec", "ports", 0, "targetPort"), pgtest.At(pod, "containers", 0, "ports", 0, "name")},
			"claim":         {name, pgtest.At(pod, "volumes", 0, "persistentVolumeClaim", "claimName")},
			"volume":        {pgtest.At(pod, "volumes", 0, "name"), pgtest.At(pod, "containers", 0, "volumeMounts", 0, "name")},
			"message":       {"FallbackToLogsOnError", pgtest.At(pod, "initContainers", 0, "terminationMessagePolicy")},
			"its own image": {pgtest.Module, pgtest.At(pod, "initContainers", 0, "image")},
			"the secret":    {pgtest.At(pod, "initContainers", 0, "env", 0, "valueFrom"), pgtest.At(pod, "containers", 0, "env", 1, "valueFrom")},
		} {
			if pair[0] == nil || !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s: the %s do not fit: %v and %v", file, what, pair[0], pair[1])
			}
		}
		if !strings.Contains(pgtest.Read(t, file), "#   kubectl create secret generic "+name+" ") {
			t.Errorf("%s does not say how to create the Secret", file)
		}
	}
}

// Where a watch and a health check share the memory of a container, there is enough for both: either uses at most 24 MiB.
func TestWatchesWithAHealthCheckHaveMemory(t *testing.T) {
	t.Parallel()
	found := 0
	check := func(file string, container map[string]any) {
		checks := fmt.Sprint(pgtest.At(container, "healthcheck", "test"), pgtest.At(container, "startupProbe", "exec", "command"))
		if !strings.Contains(checks, "/evolution-openai-patch status") {
			return
		}
		found++
		limits := fmt.Sprint(container["mem_limit"], pgtest.At(container, "deploy", "resources", "limits", "memory"), pgtest.At(container, "resources", "limits", "memory"))
		if !strings.Contains(strings.ToUpper(limits), "64M") {
			t.Errorf("%s: the limit of memory is %s, want 64 MB", file, limits)
		}
	}
	var walk func(file string, node any)
	walk = func(file string, node any) {
		switch node := node.(type) {
		case map[string]any:
			check(file, node)
			for _, child := range node {
				walk(file, child)
			}
		case []any:
			for _, child := range node {
				walk(file, child)
			}
		}
	}
	for _, file := range pgtest.Deployed(t) {
		if strings.HasSuffix(file, ".yml") || strings.HasSuffix(file, ".yaml") {
			for _, d := range documents(t, file) {
				walk(file, d)
			}
		}
	}
	if found < 4 {
		t.Errorf("%d health checks by the program itself, want at least 4", found)
	}
}
