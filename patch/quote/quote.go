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

// escapes is what an E constant writes in another way, so that it stands in one line.
var escapes = strings.NewReplacer("'", "''", `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// Literal returns s as an SQL string constant in one line that means the same whatever standard_conforming_strings is set to.
func Literal(s string) string {
	if strings.ContainsAny(s, "\\\n\r\t") {
		return " E'" + escapes.Replace(s) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
