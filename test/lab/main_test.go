// Package lab measures the program: its time, its memory, and how long it makes others wait.
package lab

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
