package project

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// goFiles returns the module's Go files by their paths from its root folder. The module in testdata is not part of it.
func goFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(pgtest.Root(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != pgtest.Root() && (strings.HasPrefix(entry.Name(), ".") || pgtest.Exists(filepath.Join(path, "go.mod"))) {
			return filepath.SkipDir
		}
		name, err := filepath.Rel(pgtest.Root(), path)
		if err == nil && strings.HasSuffix(name, ".go") {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Files and functions stay short enough to be read at a glance.
func TestStructureLengths(t *testing.T) {
	t.Parallel()
	for _, name := range goFiles(t) {
		source, err := os.ReadFile(pgtest.Root(name))
		if err != nil {
			t.Fatal(err)
		}
		limit := 300
		if name == "main.go" {
			limit = 40
		}
		if n := bytes.Count(source, []byte("\n")); n > limit {
			t.Errorf("%s has %d lines, the limit is %d", name, n, limit)
		}
		checkFunctions(t, name, source)
	}
}

// checkFunctions checks that no function of a file has more than 60 lines, including literals at the top level.
func checkFunctions(t *testing.T, name string, source []byte) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.FuncDecl, *ast.FuncLit:
			if lines := files.Position(n.End()).Line - files.Position(n.Pos()).Line + 1; lines > 60 {
				t.Errorf("%s: a function has %d lines, the limit is 60", files.Position(n.Pos()), lines)
			}
		}
		return true
	})
}

// The root folder contains no tests, and no folder has a name that says nothing.
func TestStructureFolders(t *testing.T) {
	t.Parallel()
	for _, name := range goFiles(t) {
		dir := filepath.Dir(name)
		if dir == "." && name != "main.go" {
			t.Errorf("%s is in the root folder, which contains main.go only", name)
		}
		for part := range strings.SplitSeq(dir, "/") {
			if slices.Contains([]string{"internal", "pkg", "utils"}, part) {
				t.Errorf("%s is in a folder named %s", name, part)
			}
		}
	}
}

// Imports run downwards, from main to quote. Nothing outside test imports it. A plan is pure: it knows neither time nor connection.
func TestStructureImports(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{
		".":              {"patch"},
		"patch":          {"patch/config", "patch/catalog", "patch/plan", "patch/postgres", "patch/quote"},
		"patch/config":   {"patch/plan", "patch/prisma", "patch/postgres"},
		"patch/catalog":  {"patch/plan", "patch/postgres", "patch/quote"},
		"patch/plan":     {"patch/quote"},
		"patch/prisma":   {"patch/postgres"},
		"patch/postgres": {"patch/quote"},
		"patch/quote":    {},
	}
	impure := regexp.MustCompile(`^(context|database/sql|io|log|log/slog|math/rand|net|os|sync|time|unsafe|.*\..*/.*)(/|$)`)
	cmd := pgtest.RootCommand("go", "list", "-tags", "e2e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name := inModule(p.ImportPath)
		seen[name] = true
		if name == "test" || strings.HasPrefix(name, "test/") {
			continue
		}
		if _, known := allowed[name]; !known {
			t.Errorf("package %s is not known to this test", name)
		}
		for _, path := range p.Imports {
			if impure.MatchString(path) && (name == "patch/plan" || name == "patch/quote") {
				t.Errorf("package %s imports %s", name, path)
			}
			if i := inModule(path); i != "" && !slices.Contains(allowed[name], i) {
				t.Errorf("package %s imports %s", name, i)
			}
		}
		for _, path := range append(p.TestImports, p.XTestImports...) {
			if i := inModule(path); i != "" && i != name && !slices.Contains(allowed[name], i) {
				t.Errorf("the tests of package %s import %s", name, i)
			}
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("there is no package %s", name)
		}
	}
}

// inModule returns the path of a package in this module, "." for its root folder, and "" for other modules.
func inModule(path string) string {
	if path == pgtest.Module {
		return "."
	}
	name, found := strings.CutPrefix(path, pgtest.Module+"/")
	if !found {
		return ""
	}
	return name
}
