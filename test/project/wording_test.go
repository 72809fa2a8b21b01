package project

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// knownMessages is the file with those parts of messages that tests of behaviour use.
const knownMessages = "test/pgtest/messages.go"

// behaviour are the folders with tests of what the program does.
var behaviour = []string{"test", "test/attack", "test/connect", "test/fleet", "test/guard", "test/lab"}

var word = regexp.MustCompile(`^[A-Za-z][a-z'’]*$`)

// runs returns the words of prose that follow each other in a text. Names, values and verbs of formats are no words.
func runs(text string) (all [][]string) {
	var run []string
	for _, field := range append(strings.Fields(text), "") {
		if field = strings.Trim(field, ",;:.()?!"); word.MatchString(field) {
			run = append(run, field)
			continue
		}
		all, run = append(all, run), nil
	}
	return all
}

// phrases returns each n words in a row of a run.
func phrases(run []string, n int) (all []string) {
	for i := range max(0, len(run)-n+1) {
		all = append(all, strings.Join(run[i:i+n], " "))
	}
	return all
}

// A quotation is found by what it has in common with a message: four words in a row, or three which are all that one of the two
// has between names and values. Three words from the middle of both may be there by chance.
type quotations struct{ part, whole map[string]bool }

// quotationsOf returns what must not be in a test.
func quotationsOf(all []saying) quotations {
	q := quotations{map[string]bool{}, map[string]bool{}}
	for _, s := range all {
		for _, run := range runs(s.text) {
			for _, phrase := range append(phrases(run, 3), phrases(run, 4)...) {
				q.part[phrase] = true
			}
			if len(run) == 3 {
				q.whole[strings.Join(run, " ")] = true
			}
		}
	}
	return q
}

// in reports whether a string of a test quotes a message.
func (q quotations) in(text string) bool {
	return slices.ContainsFunc(runs(text), func(run []string) bool {
		three := q.whole
		if len(run) == 3 {
			three = q.part
		}
		return slices.ContainsFunc(phrases(run, 3), func(p string) bool { return three[p] }) ||
			slices.ContainsFunc(phrases(run, 4), func(p string) bool { return q.part[p] })
	})
}

// isForPeople reports whether a call writes for who reads the test's output.
func isForPeople(call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	return ok && slices.Contains([]string{"Error", "Errorf", "Fatal", "Fatalf", "Log", "Logf", "New"}, f.Sel.Name)
}

// Tests of behaviour ask for the exit status, the state, and the names of variables and objects. Where they must tell which
// message came, they use a constant of test/pgtest/messages.go, so that a change of wording touches no test.
func TestWordingIsNotQuoted(t *testing.T) {
	t.Parallel()
	said := quotationsOf(sayings(t))
	for _, name := range goFiles(t) {
		if !slices.Contains(behaviour, path.Dir(name)) {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, pgtest.Root(name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				return !isForPeople(n)
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && said.in(text) {
					t.Errorf("%s:%d: %q quotes a message; ask for a name or a value, or use a constant of %s",
						name, files.Position(n.Pos()).Line, text, knownMessages)
				}
			}
			return true
		})
	}
}

// Each constant of test/pgtest/messages.go is a part of a message, and some test uses it.
func TestKnownMessages(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), pgtest.Root(knownMessages), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, name := range goFiles(t) {
		if strings.HasPrefix(name, "test/") && name != knownMessages {
			tests.WriteString(pgtest.Read(t, name))
		}
	}
	said := sayings(t)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(said, func(s saying) bool { return strings.Contains(s.text, text) }) {
			t.Errorf("%s is %q, which the program does not say", spec.Names[0], text)
		}
		if !regexp.MustCompile(`\bpgtest\.` + spec.Names[0].Name + `\b`).MatchString(tests.String()) {
			t.Errorf("no test uses %s", spec.Names[0])
		}
		return true
	})
}
