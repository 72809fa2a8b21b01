package postgres

import (
	"bytes"
	"strings"

	"evolution-openai-patch/patch/quote"
)

// CopyTo returns the statement that reads some columns of a table. COPY neither plans nor evaluates anything. A SELECT
// would fold the expressions of the table's indexes and statistics while it is planned, and so call functions that the
// owner of the table wrote, with the rights of the reader.
func CopyTo(schema, table string, columns ...string) string {
	return "COPY " + quote.Qualified(schema, table) + " (" + quote.Identifiers(columns) + ") TO STDOUT"
}

// copyEscapes undoes the escapes of COPY's text format (PostgreSQL documentation, COPY, Text Format).
var copyEscapes = strings.NewReplacer(`\\`, `\`, `\b`, "\b", `\f`, "\f", `\n`, "\n", `\r`, "\r", `\t`, "\t", `\v`, "\v")

// CopyValues splits a row of COPY's text format into its values. NULL is nil.
func CopyValues(row []byte) []*string {
	var values []*string
	for field := range bytes.SplitSeq(bytes.TrimSuffix(row, []byte("\n")), []byte("\t")) {
		if string(field) == `\N` {
			values = append(values, nil)
			continue
		}
		value := copyEscapes.Replace(string(field))
		values = append(values, &value)
	}
	return values
}
