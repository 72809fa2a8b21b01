package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The README's first command, as a stranger runs it.
func TestDemo(t *testing.T) {
	cmd := exec.Command("make", "-s", "demo")
	cmd.Env = append(os.Environ(), "VERSION=test")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range []string{
		`instance support registers \S+\n  refused by Evolution`, `PATCH_FIXES=apikey-index,apikey-check`, `patched: \S+ schema=evolution_api changed=true`,
		`exit status 0`, `instance support registers \S+\n  taken`, `changed=false`, `everything it wrote is removed`,
	} {
		at := regexp.MustCompile(story).FindIndex(out)
		if at == nil {
			t.Fatalf("%q does not come, or not in its turn", story)
		}
		out = out[at[1]:]
	}
}

// block is the fenced block of a page that follows the comment <!-- test: name -->.
func block(t *testing.T, page, name string) string {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(content), "<!-- test: "+name+" -->")
	if !found {
		t.Fatalf("%s has no block %s", page, name)
	}
	_, rest, _ = strings.Cut(rest, "```")
	_, rest, _ = strings.Cut(rest, "\n")
	code, _, _ := strings.Cut(rest, "```")
	return code
}
