// Package quote writes names and values as SQL. Nothing else may put them into a statement.
package quote

import "strings"

// Identifier returns name as a quoted SQL identifier.
func Identifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// Identifiers returns names as a comma-separated list of quoted SQL identifiers.
func Identifiers(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = Identifier(n)
	}
	return strings.Join(quoted, ", ")
}

// Qualified returns the quoted name of an object in a schema.
func Qualified(schema, name string) string {
	return Identifier(schema) + "." + Identifier(name)
}

// Array returns values as an SQL string constant that is the text of an array (PostgreSQL documentation, Array Input and
// Output Syntax).
func Array(values []string) string {
	elements := make([]string, len(values))
	for i, v := range values {
		elements[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
	}
	return Literal("{" + strings.Join(elements, ",") + "}")
}

// Literal returns s as an SQL string constant that means the same whatever standard_conforming_strings is set to.
func Literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
