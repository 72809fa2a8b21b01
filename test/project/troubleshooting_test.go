package project

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// A message is a string of the program's source that people may get to read.
type message struct {
	at    string
	parts []string // what is fixed in it, between verbs and "…"
}

var (
	prose   = regexp.MustCompile(`\b[a-z][a-z'’]* [a-z][a-z'’]* [a-z][a-z'’]*\b`)
	sql     = regexp.MustCompile(`^-- |\b(SELECT|SET LOCAL|UPDATE ONLY|IF created|BEGIN NEW|COPY|REVOKE|COMMENT ON|LOCK TABLE|NEW\.|OID|oid|END IF)\b`)
	differs = regexp.MustCompile(`%[-+# 0-9.]*[a-zA-Z]|…`)
	letters = regexp.MustCompile(`[A-Za-z]{2}`)
)

// fixedParts splits a message, or what a document quotes of it, at what differs.
func fixedParts(text string) (parts []string) {
	for _, part := range differs.Split(text, -1) {
		part = strings.ReplaceAll(part, "%%", "%")
		if part = strings.Trim(part, " ;:,."); letters.MatchString(part) {
			parts = append(parts, part)
		}
	}
	return parts
}

// messageArgument returns which argument of a call is a message, -1 for none.
func messageArgument(call *ast.CallExpr) int {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return map[string]int{"refuse": 1, "add": 2}[f.Name] - 1
	case *ast.SelectorExpr:
		x, _ := f.X.(*ast.Ident)
		if x != nil && (x.Name == "fmt" && f.Sel.Name == "Errorf" || x.Name == "errors" && f.Sel.Name == "New") || f.Sel.Name == "Warn" || f.Sel.Name == "Error" {
			return 0
		}
	}
	return -1
}

// Files whose strings are what `help` prints, and parts of the server's messages.
var silent = []string{"patch/config/help.go", "patch/postgres/classify.go"}

// messages returns the messages of package patch and those below it: every string with three words of prose in a row, and
// whatever becomes an error or a warning. The tags of Config are not among them.
func messages(t *testing.T) (all []message) {
	t.Helper()
	files := token.NewFileSet()
	for _, name := range goFiles(t) {
		if !strings.HasPrefix(name, "patch/") || strings.HasSuffix(name, "_test.go") || slices.Contains(silent, name) {
			continue
		}
		file, err := parser.ParseFile(files, pgtest.Root(name), nil, 0)
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
				if i := messageArgument(n); i >= 0 && i < len(n.Args) {
					certain[n.Args[i]] = true
				}
			case *ast.CompositeLit:
				if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "ConfigError" && len(n.Elts) == 2 {
					certain[n.Elts[1]] = true
				}
			case *ast.BasicLit:
				text, err := strconv.Unquote(n.Value)
				if n.Kind == token.STRING && err == nil && (certain[n] || prose.MatchString(text)) && !sql.MatchString(text) {
					if parts := fixedParts(text); len(parts) > 0 {
						all = append(all, message{name + ":" + strconv.Itoa(files.Position(n.Pos()).Line), parts})
					}
				}
			}
			return true
		})
	}
	return all
}

// inOrder reports whether text contains the parts one after the other.
func inOrder(text string, parts []string) bool {
	for _, part := range parts {
		_, rest, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = rest
	}
	return true
}

// Every warning and error that the program can print is explained in docs/troubleshooting.md.
func TestTroubleshootingIsComplete(t *testing.T) {
	t.Parallel()
	found := messages(t)
	if len(found) < 130 {
		t.Errorf("only %d messages found in the source", len(found))
	}
	var quotes []string
	for _, quote := range codeSpans.FindAllString(fence.ReplaceAllString(pgtest.Read(t, "docs/troubleshooting.md"), ""), -1) {
		quotes = append(quotes, strings.Trim(quote, "`"))
	}
	for _, m := range found {
		if !slices.ContainsFunc(quotes, func(quote string) bool { return inOrder(quote, m.parts) }) {
			t.Errorf("%s: docs/troubleshooting.md does not explain %q", m.at, m.parts)
		}
	}
}

// Every message that docs/troubleshooting.md explains is printed by the program.
func TestTroubleshootingIsTrue(t *testing.T) {
	t.Parallel()
	var source []string
	for _, name := range goFiles(t) {
		if strings.HasPrefix(name, "patch/") && !strings.HasSuffix(name, "_test.go") {
			source = append(source, literals(t, name)...)
		}
	}
	printed := func(text string) bool {
		return slices.ContainsFunc(source, func(s string) bool { return strings.Contains(s, strings.Trim(text, " ;:,.")) })
	}
	for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \| .* \|$`).FindAllStringSubmatch(pgtest.Read(t, "docs/troubleshooting.md"), -1) {
		for _, quote := range codeSpans.FindAllString(row[1], -1) {
			for _, part := range fixedParts(strings.Trim(quote, "`")) {
				if !printed(part) && !slices.ContainsFunc(slices.Collect(positions(part)), func(i int) bool { return printed(part[:i]) && printed(part[i:]) }) {
					t.Errorf("the program does not print %q of %s", part, quote)
				}
			}
		}
	}
}

// positions yields where a text may be put together from two strings, each of at least eight bytes.
func positions(text string) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := 8; i <= len(text)-8 && yield(i); i++ {
		}
	}
}

// literals returns the strings of a file, with what differs in them marked.
func literals(t *testing.T, name string) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), pgtest.Root(name), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				all = append(all, strings.ReplaceAll(differs.ReplaceAllString(text, "\x00"), "%%", "%"))
			}
		}
		return true
	})
	return all
}
