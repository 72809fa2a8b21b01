package pgtest

import "testing"

// A state or a change is not found inside another word or in the log.
func TestExpect(t *testing.T) {
	const report = "unpatched: h:1/d schema=s changed=false apikey-index=unpatched error=\"was changed=unknown\"\n"
	o := Outcome{0, report, "level=WARN msg=\"failed: waiting\" changed=true\nfailed: changed=null\n"}
	for word, want := range map[string]bool{
		"unpatched: ": true, "patched: ": false, "failed: ": false, "changed=false": true, "changed=true": false, "changed=fal": false,
		"changed=null": false, "apikey-index": true, "waiting": true, "": true,
	} {
		if got := o.contains(word); got != want {
			t.Errorf("contains(%q) = %t", word, got)
		}
	}
	if (Outcome{0, "", report}).contains("unpatched: ") {
		t.Error("a state in the log is taken for the report's")
	}
}
