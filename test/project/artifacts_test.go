package project

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"evolution-openai-patch/test/pgtest"
)

var releasedImage = "ghcr.io/owner/evolution-openai-patch:1.2.3@sha256:" + strings.Repeat("0123456789abcdef", 4)

// decoded returns what a file in YAML or JSON holds.
func decoded(t *testing.T, file string) (all []any) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		var d any
		if err := yaml.Unmarshal([]byte(document), &d); err != nil { // JSON is YAML
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

// rendered returns a document with the released image in the place of the local one, and without a build, and how many
// images were replaced.
func rendered(document any, replaced *int) any {
	switch d := document.(type) {
	case []any:
		for i := range d {
			d[i] = rendered(d[i], replaced)
		}
	case map[string]any:
		delete(d, "build")
		for key, value := range d {
			if text, ok := value.(string); ok && key == "image" && strings.TrimSuffix(text, ":latest") == pgtest.Module {
				d[key] = releasedImage
				*replaced++
				continue
			}
			d[key] = rendered(value, replaced)
		}
	}
	return document
}

// scripts/render.sh writes every file to deploy with the released image, and changes nothing else.
func TestRender(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if out, err := pgtest.RootCommand("scripts/render.sh", releasedImage, folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, file := range pgtest.Deployed(t) {
		if filepath.Ext(file) == ".toml" {
			if content, err := os.ReadFile(filepath.Join(folder, file)); err != nil || string(content) != pgtest.Read(t, file) {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		replaced := 0
		want := rendered(decoded(t, pgtest.Root(file)), &replaced)
		if got := any(decoded(t, filepath.Join(folder, file))); replaced == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s has %d images and becomes\n%v\nwant\n%v", file, replaced, got, want)
		}
	}
	for _, image := range []string{"evolution-openai-patch", "ghcr.io/owner/evolution-openai-patch:1.2.3", "x|y@sha256:" + strings.Repeat("0", 64)} {
		if err := pgtest.RootCommand("scripts/render.sh", image, t.TempDir()).Run(); err == nil {
			t.Errorf("%s is taken for an image with its digest", image)
		}
	}
}

func TestImageName(t *testing.T) {
	t.Parallel()
	for registry, want := range map[string]string{
		"ghcr.io": "ghcr.io/owner/some.repo\n", "Registry.example.com:5000/Team": "registry.example.com:5000/team/owner/some.repo\n",
		"https://ghcr.io": "", "ghcr.io/": "", "": "",
	} {
		out, err := pgtest.RootCommand("scripts/image-name.sh", registry, "Owner/Some.Repo").Output()
		if string(out) != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", registry, out, err, want)
		}
	}
}

// releaseFrom copies what a release is made from into a folder, which is a repository if repository is set, makes the release
// there and returns the folder of its files.
func releaseFrom(t *testing.T, repository bool) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"patch", "scripts", "deploy"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(pgtest.Root(name))); err != nil {
			t.Fatal(err)
		}
	}
	changelog := "## [1.2.3] - 2026-11-28\n\n- what is new\n"
	for name, content := range map[string]string{
		"main.go": pgtest.Read(t, "main.go"), "go.mod": pgtest.Read(t, "go.mod"), "go.sum": pgtest.Read(t, "go.sum"), "compose.example.yml": pgtest.Read(t, "compose.example.yml"),
		"LICENSE": pgtest.Read(t, "LICENSE"), "THIRD_PARTY_NOTICES": pgtest.Read(t, "THIRD_PARTY_NOTICES"), "README.md": pgtest.Read(t, "README.md"), "CHANGELOG.md": changelog,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1764300000", "PLATFORMS=linux/"+runtime.GOARCH, "GOFLAGS=-buildvcs=auto")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	if repository {
		run("git", "init", "-q")
		run("git", "add", ".")
		run("git", "-c", "user.name=n", "-c", "user.email=e@localhost", "commit", "-q", "-m", "m")
	}
	run("scripts/release.sh", "v1.2.3", releasedImage, "dist")
	return filepath.Join(dir, "dist")
}

// A release has what CONTRIBUTING.md says, and the same sources give the same bytes in two folders, one of them a repository.
func TestReleaseFiles(t *testing.T) {
	t.Parallel()
	dist := releaseFrom(t, true)
	sums := func(dist string) string {
		content, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	if one, two := sums(dist), sums(releaseFrom(t, false)); one != two {
		t.Errorf("two builds differ:\n%s\n%s", one, two)
	}
	check := exec.Command("sha256sum", "--check", "--quiet", "SHA256SUMS")
	check.Dir = dist
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	var names []string
	for _, file := range pgtest.Glob(t, filepath.Join(dist, "*")) {
		names = append(names, filepath.Base(file))
	}
	archive := "evolution-openai-patch_1.2.3_linux_" + runtime.GOARCH
	for _, want := range []string{archive + ".tar.gz", "evolution-openai-patch_1.2.3_deploy.tar.gz", "compose.example.yml", "portainer-stack.yml", "kubernetes.yaml", "easypanel.json"} {
		if !slices.Contains(names, want) || !strings.Contains(sums(dist), "  "+want+"\n") {
			t.Errorf("%s is missing from %q or from SHA256SUMS", want, names)
		}
	}
	notes, err := os.ReadFile(dist + ".md")
	if err != nil || !strings.Contains(string(notes), "- what is new\n") || !strings.Contains(string(notes), releasedImage) {
		t.Errorf("the notes are %q, %v", notes, err)
	}
	unpacked := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", filepath.Join(dist, archive+".tar.gz"), "-C", unpacked).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if version, err := exec.Command(filepath.Join(unpacked, archive, pgtest.Module), "version").Output(); string(version) != "v1.2.3\n" {
		t.Errorf("the version is %q, %v", version, err)
	}
	if !pgtest.Exists(filepath.Join(unpacked, archive, "THIRD_PARTY_NOTICES")) {
		t.Error("the archive has no THIRD_PARTY_NOTICES")
	}
	undated := exec.Command(filepath.Join(filepath.Dir(dist), "scripts", "release.sh"), "v1.2.4", releasedImage, dist+" of 1.2.4")
	if err := undated.Run(); err == nil || len(pgtest.Glob(t, dist+" of*")) > 0 {
		t.Errorf("without a section in the changelog: %v, and files were made", err)
	}
}

// A job is what the tests look at in a workflow.
type job struct {
	Uses        string
	Needs       any
	Permissions map[string]string
	Steps       []struct {
		Uses, Run string
		With      map[string]any
	}
}

// Actions are pinned by commit with the version beside it, and no job may do more than it needs.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40}$`)
	commented := regexp.MustCompile(`uses: (?:\./\S+|\S+@[0-9a-f]{40}  # v\d+\.\d+\.\d+\b.*)$`)
	writes := map[string]string{}
	for _, file := range pgtest.Glob(t, pgtest.Root(".github", "workflows", "*.yml")) {
		var workflow struct {
			Permissions map[string]string
			Jobs        map[string]job
		}
		name := filepath.Base(file)
		text := pgtest.Read(t, ".github/workflows/"+name)
		if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(workflow.Permissions, map[string]string{"contents": "read"}) {
			t.Errorf("%s: the permissions are %v", name, workflow.Permissions)
		}
		for line := range strings.SplitSeq(text, "\n") {
			if strings.Contains(line, "uses: ") && !commented.MatchString(line) {
				t.Errorf("%s: %q is not pinned by commit, or does not say which version that is", name, line)
			}
		}
		for jobName, j := range workflow.Jobs {
			for permission, access := range j.Permissions {
				if access == "write" {
					writes[name+" "+jobName] += permission + " "
				}
			}
			for _, step := range j.Steps {
				if step.Uses != "" && !pinned.MatchString(step.Uses) {
					t.Errorf("%s, %s: %s", name, jobName, step.Uses)
				}
				if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != false {
					t.Errorf("%s, %s: checkout keeps its credentials", name, jobName)
				}
			}
		}
		if name == "release.yml" {
			needs, _ := json.Marshal([]any{workflow.Jobs["image"].Needs, workflow.Jobs["verify"].Needs, workflow.Jobs["publish"].Needs})
			if workflow.Jobs["test"].Uses != "./.github/workflows/ci.yml" || string(needs) != `["test","image",["image","verify"]]` {
				t.Errorf("the jobs of the release need %s", needs)
			}
		}
	}
	sorted := map[string]string{}
	for where, permissions := range writes {
		sorted[where] = fmt.Sprint(slices.Sorted(slices.Values(strings.Fields(permissions))))
	}
	want := map[string]string{"real.yml check": "[issues]", "release.yml image": "[attestations id-token packages]", "release.yml publish": "[contents]"}
	if !reflect.DeepEqual(sorted, want) {
		t.Errorf("jobs may write %v, want %v", sorted, want)
	}
}
