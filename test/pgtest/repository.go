package pgtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Module is the name of the program, of its Go module and of its image.
const Module = "evolution-openai-patch"

// Read returns a file of the repository by its path from the root folder.
func Read(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(Root(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Block returns the fenced block of a document that follows the comment <!-- test: name -->.
func Block(t testing.TB, page, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(Read(t, page), "<!-- test: "+name+" -->")
	if !found {
		t.Fatalf("%s has no block %s", page, name)
	}
	_, rest, _ = strings.Cut(rest, "```")
	_, rest, _ = strings.Cut(rest, "\n")
	code, _, _ := strings.Cut(rest, "```")
	return code
}

// Deployed returns the files to deploy by their paths from the root folder.
func Deployed(t testing.TB) []string {
	t.Helper()
	all := []string{"compose.example.yml"}
	for _, pattern := range []string{"deploy/*", "deploy/*/*"} {
		for _, file := range Glob(t, Root(pattern)) {
			if name, err := filepath.Rel(Root(), file); err == nil && filepath.Ext(name) != "" {
				all = append(all, name)
			}
		}
	}
	return all
}

// At returns what a document that was decoded has at a path of keys and positions, nil if nothing is there.
func At(document any, path ...any) any {
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
