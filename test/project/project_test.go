package project

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"evolution-openai-patch/test/pgtest"
)

// THIRD_PARTY_NOTICES is what scripts/notices.sh prints: the licence of every module that is compiled in.
func TestNotices(t *testing.T) {
	t.Parallel()
	want, err := pgtest.RootCommand("scripts/notices.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	if pgtest.Read(t, "THIRD_PARTY_NOTICES") != string(want) {
		t.Error("THIRD_PARTY_NOTICES is not what `make notices` writes")
	}
	modules, err := pgtest.RootCommand("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range strings.Fields(string(modules)) {
		if !strings.Contains(string(want), "\n"+module+"\n====") {
			t.Errorf("THIRD_PARTY_NOTICES does not name %s", module)
		}
	}
}

// copyScript copies a script and files into a folder like the repository, and returns the script's path.
func copyScript(t *testing.T, script string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files[script] = pgtest.Read(t, script)
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, script)
}

// scripts/changelog.sh prints the section of one version, and fails where there is none that is finished.
func TestChangelogSection(t *testing.T) {
	t.Parallel()
	script := copyScript(t, "scripts/changelog.sh", map[string]string{
		"CHANGELOG.md": "# Changelog\n\n## [1.10.0] - unreleased\n\nnot yet\n\n## [1.1.0] - 2026-11-28\n\n### Added\n\n- one\n\n## [1.0.0] - 2026-11-01\n\n- zero\n",
	})
	for version, want := range map[string]string{"v1.1.0": "### Added\n\n- one\n\n", "1.0.0": "- zero\n", "1.10.0": "", "1x1.0": "", "2.0.0": ""} {
		out, err := exec.Command(script, version).Output()
		if string(out) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", version, out, err, want)
		}
	}
}

// Each section of CHANGELOG.md is named as Keep a Changelog says.
func TestChangelog(t *testing.T) {
	t.Parallel()
	text := pgtest.Read(t, "CHANGELOG.md")
	versions := regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(text, -1)
	if len(versions) == 0 {
		t.Fatal("there are no versions")
	}
	for _, v := range versions {
		if !regexp.MustCompile(`^\[\d+\.\d+\.\d+\] - (\d{4}-\d{2}-\d{2}|unreleased)$`).MatchString(v[1]) {
			t.Errorf("%q is no version with a date", v[1])
		}
	}
	for _, s := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`^(Added|Changed|Deprecated|Removed|Fixed|Security)$`).MatchString(s[1]) {
			t.Errorf("%q is no kind of change", s[1])
		}
	}
}

// The form for issues requires the line that status prints, and the template for pull requests asks for it.
func TestTemplatesAskForTheStatus(t *testing.T) {
	t.Parallel()
	var form struct {
		Name, Description string
		Body              []struct {
			Type, ID    string
			Attributes  map[string]any
			Validations struct{ Required bool }
		}
	}
	if err := yaml.Unmarshal([]byte(pgtest.Read(t, ".github/ISSUE_TEMPLATE/problem.yml")), &form); err != nil {
		t.Fatal(err)
	}
	asked := false
	for _, field := range form.Body {
		if field.ID == "status" {
			placeholder, _ := field.Attributes["placeholder"].(string)
			asked = field.Validations.Required && strings.Contains(pgtest.Read(t, "README.md"), "\n"+placeholder+"\n")
		}
	}
	if !asked || form.Name == "" || form.Description == "" {
		t.Errorf("the form does not require the line that status prints: %+v", form)
	}
	if !strings.Contains(pgtest.Read(t, ".github/pull_request_template.md"), "**What `status` prints**") {
		t.Error("the template for pull requests does not ask what status prints")
	}
}

// Every test of the laboratory is run by an entry of the nightly workflow, and every name there is that of a test: one that is
// misspelt would run nothing and succeed.
func TestNightlyRunsTheLaboratory(t *testing.T) {
	t.Parallel()
	find := func(text, pattern string) (names []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	var source strings.Builder
	for _, name := range goFiles(t) {
		if strings.HasPrefix(name, "test/lab/") {
			source.WriteString(pgtest.Read(t, name))
		}
	}
	want, got := find(source.String(), `(?m)^func (Test\w+)\(t `), find(pgtest.Read(t, ".github/workflows/nightly.yml"), `\b(Test\w+)`)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("the nightly workflow runs %q, and the tests are %q", got, want)
	}
}

// What takes too long for every change runs at night: each in a job of that name, with a command of the Makefile, that can fail.
func TestNightly(t *testing.T) {
	t.Parallel()
	var workflow struct {
		Jobs map[string]struct {
			Steps []map[string]any
		}
	}
	text := pgtest.Read(t, ".github/workflows/nightly.yml")
	if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"soak": "make soak", "lab": "make lab ", "bench": "make bench", "mutants": "make mutants", "fuzz": "make fuzz ",
		"matrix": "make test-matrix ", "newest": "make test-matrix MAJORS=newest", "kubelet": "make e2e KUBELET=build ",
	} {
		ran := 0
		for _, step := range workflow.Jobs[name].Steps {
			if run, _ := step["run"].(string); strings.Contains(run+" ", want) {
				ran++
			}
		}
		target := strings.Fields(want)[1]
		if ran != 1 || !strings.Contains(pgtest.Read(t, "Makefile"), "\n"+target+": go ##") {
			t.Errorf("the job %s runs %q %d times, or the Makefile does not have it", name, want, ran)
		}
	}
	for _, excuse := range []string{"continue-on-error", "||"} {
		if strings.Contains(text, excuse) {
			t.Errorf("a job may fail unnoticed: %s", excuse)
		}
	}
}
