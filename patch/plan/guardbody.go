package plan

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"evolution-openai-patch/patch/quote"
)

//go:embed guardbody.sql
var guardTemplate string

// guardWork returns what a guard for this request does.
func (r Request) guardWork() guardWork {
	return guardWork{r.Schema, fixNames(r.Fixes), r.KeepNames}
}

// guardBody returns the body of the guard's function. For each index it holds the statements that plan composes for the
// State in which a migration has just created that index.
func guardBody(r Request, s State) string {
	var fixes, commands []string
	last := ""
	for _, f := range r.Fixes {
		if f.Index == "" {
			continue
		}
		last = f.Index
		pads := slices.ContainsFunc(r.Fixes, func(other Fix) bool { return other.Pad && other.Needs == f.Name })
		fixes = append(fixes, fmt.Sprintf("(%s, %s, %t)", quote.Literal(f.Index), quote.Literal(f.Column), pads))
		commands = append(commands, fmt.Sprintf("IF created.index = %s THEN\n            %s;\n        END IF;",
			quote.Literal(f.Index), strings.Join(commandsOnCreate(f, r, s), ";\n            ")))
	}
	header, _ := json.Marshal(r.guardWork()) // cannot fail: strings and a bool
	return strings.NewReplacer(":header", string(header), ":fixes", strings.Join(fixes, ", "), ":commands", strings.Join(commands, "\n        "),
		":'last'", quote.Literal(last), ":event_trigger", quote.Identifier(GuardName(r.Schema)), ":keep", fmt.Sprint(r.KeepNames),
		":'schema'", quote.Literal(r.Schema), ":'name'", quote.Literal(quote.Identifier(r.Schema)), ":'guard'", quote.Literal(GuardName(r.Schema)),
		":'function'", quote.Literal(PadFunction(r.Schema)), ":'body'", quote.Literal(PadBody), ":'settings'", quote.Array([]string{PadSettings})).Replace(guardTemplate)
}

// commandsOnCreate returns the statements for the moment at which a migration has created f.Index: those of this fix and
// of the fixes that need it.
func commandsOnCreate(f Fix, r Request, s State) []string {
	then := Request{KeepNames: r.KeepNames, Schema: r.Schema}
	for _, other := range r.Fixes {
		if other.Name == f.Name || other.Needs == f.Name {
			then.Fixes = append(then.Fixes, other)
		}
	}
	p, _ := Make(then, State{ // in which there is nothing to refuse
		Schema: r.Schema, Keys: &Keys{}, Grantees: s.Grantees,
		Table: &Relation{
			Kind: "r", Readable: true, Creates: true, Columns: []Column{{Name: f.Column, Text: true}},
			Indexes: []*Index{{Name: quote.Qualified(r.Schema, f.Index), Unique: true, Keys: 1, Key: f.Column}},
		},
	})
	return p.SQL
}
