package project

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Every block of the README is executed by a test: it has a mark, is what a command prints, or a picture.
func TestReadmeBlocks(t *testing.T) {
	t.Parallel()
	tested := []string{"once", "paste", "models", "revert"} // TestReadme…, and TestE2EReadme
	var marked []string
	for _, found := range regexp.MustCompile("(?ms)^(?:<!-- test: ([^\n]*) -->\n)?```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(pgtest.Read(t, "README.md"), -1) {
		mark, kind, code := found[1], found[2], found[3]
		switch {
		case mark != "":
			marked = append(marked, mark)
		case kind != "" && kind != "mermaid":
			t.Errorf("no test executes\n%s", code)
		}
	}
	if !slices.Equal(marked, tested) {
		t.Errorf("the blocks are %q, want %q", marked, tested)
	}
}

// All commands and files that the README names exist.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(pgtest.Root("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(pgtest.Root("Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`?make ([a-z0-9-]+)").FindAllStringSubmatch(string(readme), -1) {
		if !strings.Contains(string(makefile), "\n"+m[1]+":") {
			t.Errorf("the README names `make %s`, which does not exist", m[1])
		}
	}
	module, err := os.ReadFile(pgtest.Root("go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if needed := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))[1]; !strings.Contains(string(readme), "with Linux, Go "+needed+" or later and make") {
		t.Errorf("the README does not say that Go %s is needed", needed)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(readme), -1) {
		if m[1] != releases && !pgtest.Exists(pgtest.Root(m[1])) {
			t.Errorf("the README links to %s, which does not exist", m[1])
		}
	}
}
