package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
)

// mutant is a file with one change.
type mutant struct {
	file             string
	what             string // the text before and after
	offset           int
	original, source []byte
}

// mutantsOf returns the mutants of a file.
func mutantsOf(file string) ([]mutant, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, file, source, 0)
	if err != nil {
		return nil, err
	}
	c := &collector{file: file, source: source, position: func(p token.Pos) int { return files.Position(p).Offset }}
	ast.Inspect(tree, func(n ast.Node) bool {
		c.visit(n)
		return true
	})
	return c.found, nil
}

// collector gathers the mutants of a file.
type collector struct {
	file     string
	source   []byte
	position func(token.Pos) int
	found    []mutant
}

// replace adds a mutant in which something else stands in the place of a piece of the source.
func (c *collector) replace(from, to token.Pos, by string) {
	begin, end := c.position(from), c.position(to)
	before := string(c.source[begin:end])
	c.found = append(c.found, mutant{
		file: c.file, offset: begin, original: c.source,
		what:   fmt.Sprintf("%s → %s", strings.Join(strings.Fields(before), " "), by),
		source: slices.Concat(c.source[:begin], []byte(by), c.source[end:]),
	})
}

func (c *collector) text(n ast.Node) string {
	return string(c.source[c.position(n.Pos()):c.position(n.End())])
}

// swapped are the operators that are easily taken for each other.
var swapped = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL}, token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS}, token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.ADD},
}

// visit adds the mutants of one node.
func (c *collector) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		for _, op := range swapped[n.Op] {
			c.replace(n.Pos(), n.End(), c.text(n.X)+" "+op.String()+" "+c.text(n.Y))
		}
		if n.Op == token.LAND || n.Op == token.LOR {
			c.replace(n.Pos(), n.End(), c.text(n.X))
			c.replace(n.Pos(), n.End(), c.text(n.Y))
		}
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			c.replace(n.Pos(), n.End(), c.text(n.X))
		}
	case *ast.IfStmt:
		c.replace(n.Cond.Pos(), n.Cond.End(), "false && ("+c.text(n.Cond)+")")
		c.replace(n.Cond.Pos(), n.Cond.End(), "true || ("+c.text(n.Cond)+")")
	case *ast.CaseClause:
		for i, e := range n.List {
			if len(n.List) > 1 {
				rest := slices.Delete(slices.Clone(n.List), i, i+1)
				var texts []string
				for _, r := range rest {
					texts = append(texts, c.text(r))
				}
				c.replace(n.List[0].Pos(), n.List[len(n.List)-1].End(), strings.Join(texts, ", "))
			} else if _, isBinary := e.(*ast.BinaryExpr); isBinary {
				c.replace(e.Pos(), e.End(), "false && ("+c.text(e)+")")
			}
		}
	case *ast.ExprStmt:
		if _, isCall := n.X.(*ast.CallExpr); isCall {
			c.replace(n.Pos(), n.End(), "_ = 0")
		}
	case *ast.AssignStmt:
		if n.Tok == token.ASSIGN && len(n.Lhs) == 1 {
			c.replace(n.Pos(), n.End(), "_ = any("+c.text(n.Rhs[0])+")") // _ = nil does not compile
		}
	case *ast.BasicLit:
		if v, err := strconv.Atoi(n.Value); n.Kind == token.INT && err == nil {
			c.replace(n.Pos(), n.End(), strconv.Itoa(v+1))
		}
	case *ast.Ident:
		if other := map[string]string{"true": "false", "false": "true"}[n.Name]; other != "" {
			c.replace(n.Pos(), n.End(), other)
		}
	case *ast.ReturnStmt:
		if len(n.Results) == 1 && strings.HasPrefix(c.text(n.Results[0]), "refuse(") {
			c.replace(n.Results[0].Pos(), n.Results[0].End(), "nil")
		}
	}
}
