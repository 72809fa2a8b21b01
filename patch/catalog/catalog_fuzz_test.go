package catalog

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/quote"
)

// readAll reads the catalog's answers, each a line of the query's name, a tab, and a row.
func (s *Inspection) readAll(answers string) error {
	for line := range strings.Lines(answers) {
		name, row, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		for _, q := range append(slices.Concat(identity, details), code) {
			if q.name != name {
				continue
			}
			if err := decode([]byte(row), q.field(s)); err != nil {
				return err
			}
		}
		s.identify()
	}
	return s.complete()
}

// everything plans and says whatever there is to be planned and said of a State.
func everything(s *plan.State) (plans []plan.Plan, said []string) {
	for _, r := range []plan.Request{
		{Schema: s.Schema, Fixes: plan.Fixes}, {Schema: s.Schema, Fixes: plan.Fixes, KeepNames: true}, {Schema: s.Schema, Fixes: plan.Fixes, Goal: plan.Revert}, {Schema: s.Schema, Fixes: plan.Fixes, Guard: true},
	} {
		p, err := plan.Make(r, *s)
		if err != nil {
			said = append(said, err.Error())
		} else {
			plans = append(plans, p)
		}
		said = append(said, p.Unguarded, fmt.Sprint(plan.Assess(r, *s)))
	}
	return plans, said
}

// FuzzAnswers reads answers of any content. Whatever they are, nothing panics.
func FuzzAnswers(f *testing.F) {
	f.Add(hostileAnswers("s", "a", "b"))
	f.Add("relations\t{\"name\":\"OpenaiCreds\",\"kind\":\"r\",\"oid\":\"1\"}\nindexes\t{\"relation\":\"1\",\"oid\":\"2\",\"definition\":\"x\",\"unique\":true,\"keys\":9,\"columns\":[]}")
	f.Add("guard\tnull\nguard\t{\"trigger\":{}}\nguard_functions\t{\"body\":\"-- evolution-openai-patch {\"}\nfunctions\t{}")
	f.Add("session\t[]\nrelations\t{\"oid\":1}\ncolumns\t{\"number\":1e99}")
	f.Fuzz(func(t *testing.T, answers string) {
		s := &Inspection{State: plan.State{Schema: "s", Keys: &plan.Keys{}}}
		if s.readAll(answers) == nil {
			everything(&s.State)
		}
	})
}

// hostileAnswers is what PostgreSQL says of a table that has the padding, a unique index and a unique constraint, in a schema
// whose owner has chosen the names.
func hostileAnswers(schema, name, owner string) string {
	var answers strings.Builder
	add := func(query string, row map[string]any) {
		text, err := json.Marshal(row)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&answers, "%s\t%s\n", query, text)
	}
	qualified := quote.Qualified(schema, name) // as regclass prints it
	add("session", map[string]any{"role": owner, "superuser": true})
	add("schemas", map[string]any{"name": schema})
	add("schemas", map[string]any{"name": plan.GuardName(schema)})
	add("relations", map[string]any{"namespace": "1", "oid": "10", "name": plan.TableName, "kind": "r", "owner": owner, "mine": true, "readable": true})
	columns := append(slices.Clone(plan.Columns), name)
	for n, column := range columns {
		add("columns", map[string]any{"relation": "10", "name": column, "number": n + 1, "type": name, "text": true, "builtin": true, "limit": 255})
	}
	add("functions", map[string]any{"namespace": "1", "oid": "20", "owner": owner, "exact": true, "trusted": true})
	add("function_use", map[string]any{"namespace": "1", "comment": name, "users": []string{}})
	for n, f := range plan.Fixes {
		if f.Index == "" {
			continue
		}
		oid, number := fmt.Sprint(30+n), slices.Index(columns, f.Column)+1
		add("indexes", map[string]any{
			"relation": "10", "oid": oid, "name": qualified, "definition": "CREATE UNIQUE INDEX " + qualified, "key": quote.Identifier(f.Column),
			"unique": true, "keys": 1, "columns": []int{number},
		})
		if f.Column == "name" {
			add("constraints", map[string]any{"relation": "10", "name": name, "type": "u", "table": qualified, "index": oid, "columns": []int{number}, "validated": true})
		}
	}
	add("triggers", map[string]any{"relation": "10", "name": plan.ObjectName, "definition": name, "function": "20", "type": 23, "enabled": "O", "plain": true})
	add("grantees", map[string]any{"name": owner})
	add("replica", map[string]any{"name": name, "role": owner, "connected": true})
	return answers.String()
}

// outside removes from a statement what stands between quotes. The second result is false if a quote is not closed.
func outside(sql string) (string, bool) {
	quoted := regexp.MustCompile(`(?s)"(?:[^"]|"")*"| E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'`)
	rest := quoted.ReplaceAllString(sql, "")
	return rest, !strings.ContainsAny(rest, `"'$`)
}

// words is what plan itself writes outside of quotes.
var words = regexp.MustCompile(`^[A-Za-z0-9_ .,()=<>|+:%-]*$`)

// FuzzNames lets the owner of a schema choose names. Each statement of a plan remains one statement, in which they stand
// between quotes.
func FuzzNames(f *testing.F) {
	for _, name := range []string{`a`, `"`, `';`, `\`, `\'; DROP TABLE x; --`, `" ON t; --`, `$$`, `'/*`, "a\nb", "E'", `a""b''c`, `:'schema'`} {
		f.Add(name, name, name)
		f.Add("s", name, "o")
	}
	f.Fuzz(func(t *testing.T, schema, name, owner string) {
		for _, s := range []string{schema, name, owner} {
			if s == "" || strings.Contains(s, "\x00") || strings.ToValidUTF8(s, "") != s {
				return // PostgreSQL has no such name
			}
		}
		for _, absent := range []string{"replica", "replica functions function_use triggers", "replica relations schemas"} {
			s := &Inspection{State: plan.State{Schema: schema, Keys: &plan.Keys{Bare: 1, Spaced: 1}}}
			var answers strings.Builder
			for line := range strings.Lines(hostileAnswers(schema, name, owner)) {
				if query, _, _ := strings.Cut(line, "\t"); !slices.Contains(strings.Fields(absent), query) {
					answers.WriteString(line)
				}
			}
			if err := s.readAll(answers.String()); err != nil {
				t.Fatal(err)
			}
			statements := 0
			plans, _ := everything(&s.State)
			for _, p := range plans {
				for _, sql := range p.SQL {
					statements++
					if rest, closed := outside(sql); !closed || !words.MatchString(rest) || strings.Contains(rest, "--") {
						t.Errorf("%q leaves %q", sql, rest)
					}
				}
			}
			if statements < 4 {
				t.Errorf("without %s only %d statements are planned", absent, statements)
			}
		}
	})
}
