package plan

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"evolution-openai-patch/patch/quote"
)

// init makes rapid check more cases than its default of 100, which take milliseconds.
func init() { _ = flag.Set("rapid.checks", cmp.Or(os.Getenv("MODEL_CHECKS"), "5000")) }

// exec is what a statement that plan composes makes of a State. A statement that PostgreSQL would refuse is an error.
func exec(s State, sql string) (State, error) {
	for _, rule := range rules {
		if m := rule.pattern.FindStringSubmatch(sql); m != nil {
			return rule.effect(s, m[1:])
		}
	}
	return s, fmt.Errorf("the model does not know %q", sql)
}

// A rule gives the effect of one kind of statement.
type rule struct {
	pattern *regexp.Regexp
	effect  func(State, []string) (State, error)
}

var rules = []rule{
	{regexp.MustCompile(`^DROP INDEX IF EXISTS (.*)$`), func(s State, m []string) (State, error) {
		return s.without(func(x *Index) bool { return x.Name == m[0] }), nil
	}},
	{regexp.MustCompile(`^ALTER TABLE "s"."OpenaiCreds" DROP CONSTRAINT IF EXISTS "(.*)"$`), func(s State, m []string) (State, error) {
		return s.without(func(x *Index) bool { c := x.Constraint("u"); return c != nil && c.Name == m[0] }), nil
	}},
	{regexp.MustCompile(`^CREATE (UNIQUE )?INDEX "(.*)" ON "s"."OpenaiCreds" \("(.*)"\)$`), createIndex},
	{regexp.MustCompile(`^COMMENT ON INDEX "s"."(.*)" IS '(.*)'$`), func(s State, m []string) (State, error) {
		x := s.Table.indexNamed(m[0])
		if x == nil {
			return s, fmt.Errorf("there is no index %s", m[0])
		}
		commented := *x
		commented.Comment = m[1]
		s = s.without(func(other *Index) bool { return other == x })
		s.Table.Indexes = append(s.Table.Indexes, &commented)
		return s, nil
	}},
	{regexp.MustCompile(`^CREATE FUNCTION "s"."evolution_openai_patch"\(\) RETURNS trigger`), func(s State, _ []string) (State, error) {
		f := ownFunction
		f.Owner = s.Role
		return s.withFunction(&f, s.Function != nil)
	}},
	{regexp.MustCompile(`^(?:REVOKE ALL ON|ALTER) FUNCTION "s"."evolution_openai_patch"\(\)`), func(s State, _ []string) (State, error) {
		return s.withFunction(s.Function, s.Function == nil)
	}},
	{regexp.MustCompile(`^DROP FUNCTION "s"."evolution_openai_patch"\(\)$`), func(s State, _ []string) (State, error) {
		return s.withFunction(nil, s.Function == nil || s.PadTrigger() != nil)
	}},
	{regexp.MustCompile(`^CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "s"."OpenaiCreds"`), func(s State, _ []string) (State, error) {
		if s.Function == nil || s.PadTrigger() != nil {
			return s, fmt.Errorf("no function, or already a trigger")
		}
		s.Triggers = append(slices.Clone(s.Triggers), padTrigger)
		return s, nil
	}},
	{regexp.MustCompile(`^DROP TRIGGER evolution_openai_patch ON "s"."OpenaiCreds"$`), func(s State, _ []string) (State, error) {
		if s.PadTrigger() == nil {
			return s, fmt.Errorf("there is no trigger")
		}
		s.Triggers = slices.DeleteFunc(slices.Clone(s.Triggers), func(t Trigger) bool { return t.Name == ObjectName })
		return s, nil
	}},
	{regexp.MustCompile(`^UPDATE ONLY "s"."OpenaiCreds" SET "apiKey" = rtrim\("apiKey", ' '\) \|\| ' ' WHERE`), func(s State, _ []string) (State, error) {
		return s.withKeys(Keys{Spaced: s.Keys.Spaced + s.Keys.Bare, Full: s.Keys.Full})
	}},
	{regexp.MustCompile(`^UPDATE ONLY "s"."OpenaiCreds" SET "apiKey" = rtrim\("apiKey", ' '\) WHERE "apiKey" LIKE '% '$`), func(s State, _ []string) (State, error) {
		return s.withKeys(Keys{Bare: s.Keys.Bare + s.Keys.Spaced, Full: s.Keys.Full})
	}},
}

// without returns the State without some indexes.
func (s State) without(gone func(*Index) bool) State {
	t := *s.Table
	t.Indexes = slices.DeleteFunc(slices.Clone(t.Indexes), gone)
	left := func(r Relation) bool {
		return r.Kind == "i" && !slices.ContainsFunc(t.Indexes, func(x *Index) bool { return x.OID == r.OID })
	}
	s.Table, s.Relations = &t, slices.DeleteFunc(slices.Clone(s.Relations), left)
	return s
}

func createIndex(s State, m []string) (State, error) {
	if slices.ContainsFunc(s.Relations, func(r Relation) bool { return r.Name == m[1] }) {
		return s, fmt.Errorf("%s is there already", m[1])
	}
	oid := 0
	for _, x := range s.Table.Indexes {
		n, _ := strconv.Atoi(x.OID)
		oid = max(oid, n+1)
	}
	t := *s.Table
	x := &Index{OID: strconv.Itoa(oid), Name: quote.Qualified("s", m[1]), Bare: m[1], Unique: m[0] != "", Keys: 1, Key: m[2]}
	t.Indexes = append(slices.Clone(t.Indexes), x)
	s.Table, s.Relations = &t, append(slices.Clone(s.Relations), Relation{OID: x.OID, Name: m[1], Kind: "i"})
	return s, nil
}

func (s State) withFunction(f *Function, refused bool) (State, error) {
	if refused {
		return s, fmt.Errorf("the function is there, missing or in use")
	}
	s.Function = f
	return s, nil
}

func (s State) withKeys(k Keys) (State, error) {
	s.Keys = &k
	return s, nil
}

// execAll executes a whole plan.
func execAll(t *rapid.T, s State, p Plan) State {
	for _, sql := range p.SQL {
		next, err := exec(s, sql)
		if err != nil {
			t.Fatalf("%q, of %q: %v", sql, p.SQL, err)
		}
		s = next
	}
	return s
}

// drawState returns a table as Evolution ships it or as somebody left it. Keys are those of Evolution's: without spaces, or
// all with one.
func drawState(t *rapid.T, asShipped bool) State {
	var indexes []Index
	for _, f := range Fixes {
		if f.Index == "" {
			continue
		}
		kind := "unique"
		if !asShipped {
			kind = rapid.SampledFrom([]string{"unique", "plain", "kept", "renamed", "none", "constraint", "two", "another name"}).Draw(t, f.Name)
		}
		x := Index{Name: f.Index, Key: f.Column, Keys: 1, Unique: true}
		another := with(x, func(x *Index) { x.Name = "another_" + f.Column })
		switch kind {
		case "unique":
			indexes = append(indexes, x)
		case "plain":
			indexes = append(indexes, with(x, func(x *Index) { x.Unique = false }))
		case "kept":
			indexes = append(indexes, with(x, func(x *Index) { x.Unique, x.Comment = false, IndexComment }))
		case "renamed":
			indexes = append(indexes, with(another, func(x *Index) { x.Unique, x.Comment = false, IndexComment }))
		case "constraint":
			indexes = append(indexes, with(another, func(x *Index) { x.Constraints = []Constraint{{Name: x.Name, Type: "u"}} }))
		case "two":
			indexes = append(indexes, x, another)
		case "another name":
			indexes = append(indexes, another)
		}
	}
	s := table(append(indexes, Index{Name: "OpenaiCreds_pkey", Key: "id", Keys: 1, Unique: true, Primary: true})...)
	for _, f := range Fixes {
		if s.Table.Column(f.Column) == nil {
			s.Table.Columns = append(s.Table.Columns, Column{Name: f.Column, Number: len(s.Table.Columns) + 1, Text: true})
		}
	}
	s.Role, s.Table.Owner, s.Table.Mine = "evolution", "evolution", true
	if !asShipped {
		s.Migrations.Last = rapid.SampledFrom([]string{"", FirstChecking, "20991231000000"}).Draw(t, "last migration")
	}
	s.Keys = &Keys{Bare: rapid.IntRange(0, 3).Draw(t, "bare"), Full: rapid.IntRange(0, 2).Draw(t, "full")}
	if asShipped {
		return s
	}
	switch rapid.SampledFrom([]string{"none", "function", "disabled", "padding"}).Draw(t, "padding") {
	case "function":
		s.Function = &ownFunction
	case "disabled":
		s.Function, s.Triggers = &ownFunction, []Trigger{disabled}
	case "padding":
		s.Function, s.Triggers = &ownFunction, []Trigger{padTrigger}
	}
	return s
}

func drawRequest(t *rapid.T, goal Goal) Request {
	r := Request{Schema: "s", Goal: goal, KeepNames: rapid.Bool().Draw(t, "keep names")}
	for _, f := range Fixes {
		if rapid.Bool().Draw(t, f.Name+" requested") {
			r.Fixes = append(r.Fixes, f)
		}
	}
	return r
}

func mustPlan(t *rapid.T, r Request, s State) (p Plan) {
	var err error
	if p, err = Make(r, s); err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return p
}

// After a plan, and one that leaves names, the next one is empty, whatever there was, and there is work if and only if something is not in place.
func TestModelNextPlanIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, r := drawState(t, false), drawRequest(t, rapid.SampledFrom([]Goal{Apply, Revert}).Draw(t, "goal"))
		p := mustPlan(t, r, s)
		unmet := slices.ContainsFunc(r.Fixes, func(f Fix) bool { return !inPlace(f, s) })
		if a := Assess(r, s); r.Goal == Apply && (unmet != (len(p.SQL) > 0 && !p.Optional) || unmet != (a.Status == Unpatched)) {
			t.Fatalf("unmet: %t, but %s, and the plan is %q", unmet, a.Status, p.SQL)
		}
		if known := s.Migrations.known(); r.Goal == Apply && r.KeepNames && known && slices.ContainsFunc(r.Fixes, func(f Fix) bool { return !keepsName(f, s) }) && len(p.SQL) == 0 {
			t.Fatalf("a name is not kept, and nothing is done")
		}
		if (len(p.SQL) > 0) != (len(p.Words) > 0) {
			t.Fatalf("%q is told as %q", p.SQL, p.Words)
		}
		after := execAll(t, s, p)
		next := mustPlan(t, r, after)
		if next.Optional && !p.Optional {
			after = execAll(t, after, next)
			next = mustPlan(t, r, after)
		}
		if len(next.SQL) > 0 {
			t.Fatalf("after %q the plan is %q", p.SQL, next.SQL)
		}
		for _, f := range r.Fixes {
			if inPlace(f, after) != (r.Goal == Apply || !f.Pad && !s.Migrations.known() && inPlace(f, s) && !keepsName(f, s)) {
				t.Fatalf("after %q, %s is in place or not, against the goal", p.SQL, f.Name)
			}
		}
		if a := Assess(r, after); r.Goal == Apply && len(r.Fixes) > 0 && a.Status != Patched {
			t.Fatalf("after %q: %+v", p.SQL, a)
		}
	})
}

// inPlace says without plan whether a second row may have the same value, or is stored so that Evolution does not find it.
func inPlace(f Fix, s State) bool {
	if f.Pad {
		return s.Function != nil && len(s.Triggers) == 1 && s.Triggers[0].Enabled == "O" && s.Keys.Bare == 0
	}
	return !slices.ContainsFunc(s.Table.Indexes, func(x *Index) bool { return x.Unique && x.Key == f.Column })
}

// keepsName reports whether an index with a comment stands for that of the fix, if there is one.
func keepsName(f Fix, s State) bool {
	return f.Index == "" || slices.ContainsFunc(s.Table.Indexes, func(x *Index) bool { return !x.Unique && x.Key == f.Column && x.Comment == IndexComment })
}

// Revert after apply is the identity on what Evolution ships, also where the two are asked for different names.
func TestModelRevertIsTheInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, r := drawState(t, true), drawRequest(t, Apply)
		s := execAll(t, before, mustPlan(t, r, before))
		r.Goal, r.KeepNames = Revert, rapid.Bool().Draw(t, "revert keeps names")
		s = execAll(t, s, mustPlan(t, r, s))
		if got, want := describe(s), describe(before); got != want {
			t.Fatalf("%s\nwant %s", got, want)
		}
	})
}

// describe returns what can be seen of a State, whatever its order.
func describe(s State) string {
	var lines []string
	for _, x := range s.Table.Indexes {
		lines = append(lines, fmt.Sprint(x.Name, x.Key, x.Unique, x.Comment, x.Constraints))
	}
	slices.Sort(lines)
	return fmt.Sprintf("%s function %v triggers %v keys %d %d %d", strings.Join(lines, " "), s.Function, s.Triggers, s.Keys.Bare, s.Keys.Spaced, s.Keys.Full)
}

// The order in which the catalog lists the indexes makes no difference to what a plan leads to.
func TestModelOrderOfIndexes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, r := drawState(t, false), drawRequest(t, rapid.SampledFrom([]Goal{Apply, Revert}).Draw(t, "goal"))
		other := s
		listed := *s.Table
		listed.Indexes = rapid.Permutation(s.Table.Indexes).Draw(t, "order")
		other.Table = &listed
		p, q := mustPlan(t, r, s), mustPlan(t, r, other)
		if got, want := describe(execAll(t, other, q)), describe(execAll(t, s, p)); got != want {
			t.Fatalf("%q leads to %s\n%q to %s", q.SQL, got, p.SQL, want)
		}
	})
}
