package postgres

import (
	"testing"

	"evolution-openai-patch/patch/quote"
)

func TestCopyValues(t *testing.T) {
	values := CopyValues([]byte("plain\t\\N\t\ta\\tb\\nc\\\\N\\\\\t\\\\N\n"))
	want := []string{"plain", "NULL", "", "a\tb\nc\\N\\", `\N`}
	if len(values) != len(want) {
		t.Fatalf("%d values, want %d", len(values), len(want))
	}
	for i, v := range values {
		got := "NULL"
		if v != nil {
			got = *v
		}
		if got != want[i] || (v == nil) != (i == 1) {
			t.Errorf("value %d is %q, want %q", i, got, want[i])
		}
	}
	if got := CopyTo(`s"x`, "t", "a", `b"`); got != `COPY "s""x"."t" ("a", "b""") TO STDOUT` {
		t.Error(got)
	}
}

func TestLiteral(t *testing.T) {
	for s, want := range map[string]string{"": "''", "a'b": "'a''b'", `a\b'`: ` E'a\\b'''`} {
		if got := quote.Literal(s); got != want {
			t.Errorf("%q becomes %s, want %s", s, got, want)
		}
	}
}
