package project

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// goldenMessages lists whatever the program can say, so that a change of wording is seen in one place.
const goldenMessages = "test/project/testdata/messages.golden"

var update = flag.Bool("update", false, "write "+goldenMessages)

var (
	statement = regexp.MustCompile(`\b[A-Z]{2,} [A-Z%]|\b[a-z"]+\(|pg_catalog|relkind|\b(LIKE|CASE|AS)\b|^\\|^\n`)
	lowerCase = regexp.MustCompile(`[a-z]{2}`)

	backupComment = regexp.MustCompile(`^-- [A-Z]`)
	sqlText       = regexp.MustCompile(`RAISE LOG '(.*?)'|'([a-z]+ [A-Za-z% ]+)'`) // what the server says for the program
)

// logArgument returns which argument of a call is what the log says, -1 for none.
func logArgument(call *ast.CallExpr) int {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return -1
	}
	return map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3}[f.Sel.Name] - 1
}

// wording returns the strings of a file of the program that people may get to read, and the pieces from which they are put
// together: what becomes an error or a line of the log, and every other string that has a blank and is no SQL.
func wording(t *testing.T, name string) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), pgtest.Root(name), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	certain := map[ast.Node]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field: // without its tag
			return n.Tag == nil
		case *ast.CallExpr:
			for _, i := range []int{messageArgument(n), logArgument(n)} {
				if i >= 0 && i < len(n.Args) {
					certain[n.Args[i]] = true
				}
			}
		case *ast.KeyValueExpr: // such as the words for kinds of relations
			if key, ok := n.Key.(*ast.BasicLit); ok && key.Kind == token.STRING {
				certain[n.Value] = true
			}
		case *ast.BasicLit:
			text, err := strconv.Unquote(n.Value)
			fixed := differs.ReplaceAllString(text, "")
			isPiece := strings.Contains(text, " ") && lowerCase.MatchString(fixed) && !statement.MatchString(text)
			isMessage := isPiece || certain[n] && lowerCase.MatchString(fixed) || prose.MatchString(text)
			if n.Kind == token.STRING && err == nil && (isMessage && !sql.MatchString(text) || backupComment.MatchString(text)) {
				all = append(all, text)
			}
		}
		return true
	})
	return all
}

// A saying is a string that people may get to read, and the file that it is in.
type saying struct{ file, text string }

// sayings returns what the program can say, in the order of the source.
func sayings(t *testing.T) (all []saying) {
	t.Helper()
	for _, name := range goFiles(t) {
		if strings.HasPrefix(name, "patch/") && !strings.HasSuffix(name, "_test.go") && !slices.Contains(silent, name) {
			for _, text := range wording(t, name) {
				all = append(all, saying{name, text})
			}
		}
	}
	for _, name := range []string{"patch/catalog/catalog.sql", "patch/plan/guardbody.sql"} {
		for _, m := range sqlText.FindAllStringSubmatch(pgtest.Read(t, name), -1) {
			all = append(all, saying{name, m[1] + m[2]})
		}
	}
	return all
}

// The wording of every message is that of the golden list, which -update writes anew.
func TestMessages(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, s := range sayings(t) {
		quoted := strconv.Quote(s.text)
		if strconv.CanBackquote(s.text) {
			quoted = "`" + s.text + "`"
		}
		if line := s.file + ": " + quoted + "\n"; !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	want := strings.Join(lines, "")
	if *update {
		if err := os.WriteFile(pgtest.Root(filepath.FromSlash(goldenMessages)), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := pgtest.Read(t, goldenMessages); got != want {
		was := slices.Collect(strings.Lines(got))
		for _, line := range lines {
			if !slices.Contains(was, line) {
				t.Errorf("new: %s", line)
			}
		}
		for _, line := range was {
			if !slices.Contains(lines, line) {
				t.Errorf("gone: %s", line)
			}
		}
		t.Errorf("if this is intended, run the test with -update, which writes %s, and correct docs/troubleshooting.md", goldenMessages)
	}
}
