package project

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/test/pgtest"
)

// Every fix of the catalogue stands in what `help` prints and has a row in the reference.
func TestEveryFixIsDocumented(t *testing.T) {
	t.Parallel()
	for _, f := range plan.Fixes {
		if !strings.Contains(config.Help(), f.Name) {
			t.Errorf("help does not name %s", f.Name)
		}
		for _, page := range translated[1] {
			if !strings.Contains(pgtest.Read(t, page), "\n| `"+f.Name+"` | ") {
				t.Errorf("%s has no row for %s", page, f.Name)
			}
		}
	}
}

// rangeOfMajors matches the oldest and the newest of some majors, in all three languages.
var rangeOfMajors = regexp.MustCompile(`\b(\d\d) (?:to|a|至) (\d\d)\b`)

// The majors of PostgreSQL stand in one file. Whatever else names them names the same.
func TestMajors(t *testing.T) {
	t.Parallel()
	var majors []string
	for line := range strings.Lines(pgtest.Read(t, "scripts/postgres-majors")) {
		if major, _, _ := strings.Cut(line, " "); major != "#" {
			majors = append(majors, major)
		}
	}
	oldest, newest := majors[0], majors[len(majors)-1]
	for i, major := range majors {
		if first, _ := strconv.Atoi(oldest); major != strconv.Itoa(first+i) {
			t.Errorf("scripts/postgres-majors: %q is not one after the other", majors)
		}
	}
	for name, want := range map[string]string{
		".github/workflows/ci.yml":      "postgresql: [" + strings.Join(majors, ", ") + "]",
		".github/workflows/nightly.yml": "postgresql: [" + strings.Join(majors[1:len(majors)-1], ", ") + "]",
		"patch/connection.go":           "\toldestTested = " + oldest + "\n\tnewestTested = " + newest + "\n",
		"CONTRIBUTING.md":               `MAJORS="` + oldest + " " + newest + `"`,
	} {
		if !strings.Contains(pgtest.Read(t, name), want) {
			t.Errorf("%s: no %s", name, want)
		}
	}
	for _, page := range append(slices.Clone(translated[1]), "CONTRIBUTING.md", "docs/design.md", "docs/upgrades.md") {
		named := 0
		for line := range strings.Lines(pgtest.Read(t, page)) {
			for _, m := range rangeOfMajors.FindAllStringSubmatch(line, -1) {
				if named++; m[1] != oldest || m[2] != newest {
					t.Errorf("%s: %s, not from %s to %s: %s", page, m[0], oldest, newest, line)
				}
			}
		}
		if named == 0 {
			t.Errorf("%s does not name the majors", page)
		}
	}
	for _, pattern := range []string{"compose.example.yml", "deploy/*", "deploy/*/*", ".ci/docker.sh", ".ci/run"} {
		for _, file := range pgtest.Glob(t, pgtest.Root(pattern)) {
			text, _ := os.ReadFile(file) // a folder has none
			for _, m := range regexp.MustCompile(`\bpostgres:(\d\d)\b|PostgreSQL (\d\d)\b`).FindAllStringSubmatch(string(text), -1) {
				if !slices.Contains(majors, m[1]+m[2]) {
					t.Errorf("%s: %s is not among %q", file, m[0], majors)
				}
			}
		}
	}
}
