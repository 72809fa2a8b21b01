package plan

import (
	_ "embed"
	"slices"
	"strings"

	"evolution-openai-patch/patch/quote"
)

//go:embed catch.sql
var catchTemplate string

// CaughtMessage is the message of an error that stands for one that may have quoted a stored key.
const CaughtMessage = "evolution-openai-patch: the rows cannot be changed"

// Catching returns the statement as it is executed. An error of one that changes or compares rows may quote a key, and the server logs
// every error that nobody catches. Therefore the statement raises another one in its place, which has the SQLSTATE as its detail and
// the name of the constraint, which the server does not log. It keeps the SQLSTATE of an error that is the server's own trouble.
func Catching(sql string) string {
	if !strings.HasPrefix(sql, "UPDATE ") && !strings.HasPrefix(sql, "CREATE UNIQUE ") {
		return sql
	}
	return "DO " + quote.Literal(strings.NewReplacer(":statement", sql, ":'message'", quote.Literal(CaughtMessage)).Replace(catchTemplate))
}

// ExplainCaught refuses a table whose rows cannot be changed, and names the constraint that forbids it if the catalog has one of that
// name: a trigger may report a key as the name of a constraint.
func ExplainCaught(s State, constraint, code string) error {
	if s.constraintNamed(constraint) {
		return Refuse("constraint or unique index %s does not let the keys of %s change (SQLSTATE %s); drop it, or make it allow a space at the end of a key",
			quote.Identifier(constraint), s.QualifiedTable(), code)
	}
	return Refuse("the keys of %s cannot be changed (SQLSTATE %s)%s; PostgreSQL's message is left out, because it may quote a key",
		s.QualifiedTable(), code, Suspects(s))
}

// constraintNamed reports whether a constraint or an index of the table, or a foreign key that refers to it, has this name.
func (s State) constraintNamed(name string) bool {
	return slices.ContainsFunc(slices.Concat(s.Checks, s.ForeignKeys), func(k Constraint) bool { return k.Name == name }) ||
		slices.ContainsFunc(s.Table.Indexes, func(x *Index) bool {
			return strings.HasSuffix(x.Name, "."+name) || strings.HasSuffix(x.Name, "."+quote.Identifier(name))
		})
}

// KeysStayBare refuses a table in which something removes the space as soon as it is added.
func KeysStayBare(s State) error {
	return Refuse("keys of %s lose the space as soon as it is added%s; triggers run in the order of their names: rename it to one that sorts before %s, or drop it",
		s.QualifiedTable(), Suspects(s), ObjectName)
}

// Untried names the CHECK constraints, foreign keys and triggers that may forbid or remove the space, if no stored key shows that they
// do not. Those that have just let a change pass have been tried.
func (s State) Untried(f Fix, changed bool) (found []string) {
	if s.Table == nil || s.Table.Column(f.Column) == nil || s.Keys == nil {
		return nil
	}
	number, tried := s.Table.Column(f.Column).Number, s.Keys.Spaced > 0 && s.Keys.Bare == 0
	for _, k := range s.Checks {
		if slices.Contains(k.Columns, number) && !(tried && (k.Validated || changed)) {
			found = append(found, "CHECK constraint "+quote.Identifier(k.Name))
		}
	}
	if tried {
		return found
	}
	for _, k := range s.ForeignKeys {
		if k.Relation == s.Table.OID {
			found = append(found, "foreign key "+quote.Identifier(k.Name))
		}
	}
	for _, t := range s.Triggers {
		if t.mayStrip() {
			found = append(found, "trigger "+quote.Identifier(t.Name))
		}
	}
	return found
}
