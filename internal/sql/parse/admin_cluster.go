package parse

import "math"

// consume reads CONSUME.
func (p *parser) consume() Statement {
	consume := &Consume{Pos: p.token.pos, Limit: -1}
	p.advance()
	p.expectWord("from")
	consume.Topic = p.objectName("the name of a topic")
	if p.word("group") {
		consume.Group = p.nameOrString("the name of a group").Name
	}
	if p.word("from") {
		switch {
		case p.word("earliest"):
			consume.Start = StartEarliest
		case p.word("latest"):
			consume.Start = StartLatest
		default:
			p.word("offset")
			consume.Start = StartOffset
			consume.Offset = p.integer("EARLIEST, LATEST or an offset", math.MaxInt64)
		}
	}
	if p.word("limit") {
		consume.Limit = p.integer("a number of messages", math.MaxInt64)
	}
	return consume
}

// ack reads ACK.
func (p *parser) ack() Statement {
	ack := &Ack{Pos: p.token.pos}
	p.advance()
	ack.Topic = p.objectName("the name of a topic")
	p.expectWord("group")
	ack.Group = p.nameOrString("the name of a group").Name
	if p.word("partition") {
		ack.Partition = p.integer("the number of a partition", math.MaxInt32)
	}
	p.expectWord("upto")
	p.expectWord("offset")
	ack.Offset = p.integer("an offset", math.MaxInt64)
	return ack
}

// cluster reads CLUSTER.
func (p *parser) cluster() Statement {
	cluster := &Cluster{Pos: p.token.pos}
	p.advance()
	action, known := clusterAction(p.token)
	if !known {
		p.unexpected("SNAPSHOT, PURGE, TRIGGER ELECTION, TRANSFER LEADER, STEPDOWN, DRAIN, RESUME, CLEAR, REBALANCE, RETAIN CHANGES, JOIN or LEAVE")
	}
	cluster.Action = action
	if action == ClusterPurge {
		p.purge(cluster)
		p.onGroups(cluster)
		return cluster
	}
	p.advance()
	switch action { //nolint:exhaustive // the others need nothing here
	case ClusterTriggerElection:
		p.expectWord("election")
	case ClusterRebalance:
		if p.word("dry") {
			p.expectWord("run")
			cluster.DryRun = true
		}
	case ClusterStepdown, ClusterDrain, ClusterResume, ClusterLeave:
		if p.token.kind == tokenNumber {
			cluster.Node = p.integer("the number of a node", math.MaxInt64)
		}
	case ClusterRetain:
		p.retain(cluster)
	case ClusterTransferLeader:
		p.expectWord("leader")
		p.word("to")
		cluster.Node = p.integer("the number of a node", math.MaxInt64)
	case ClusterJoin:
		cluster.Node = p.integer("the number of a node", math.MaxInt64)
		cluster.RPCAddress = p.address("the address for other nodes")
		cluster.APIAddress = p.address("the address for clients")
	}
	p.onGroups(cluster)
	return cluster
}

// onGroups reads ON GROUP g [, g] behind the actions that can be narrowed down.
func (p *parser) onGroups(cluster *Cluster) {
	switch cluster.Action { //nolint:exhaustive // the others need nothing here
	case ClusterClear, ClusterDrain, ClusterResume, ClusterList, ClusterStatus:
		if p.isWord("on") {
			p.unexpected("the end of the statement, which concerns every group")
		}
		return
	}
	if !p.word("on") {
		return
	}
	if !p.word("groups") {
		p.expectWord("group")
	}
	for {
		cluster.Groups = append(cluster.Groups, p.integer("the number of a group", math.MaxInt64))
		if !p.symbol(",") {
			return
		}
	}
}

// clusterAction returns what the word behind CLUSTER asks for.
func clusterAction(word token) (action ClusterAction, known bool) {
	if word.kind != tokenWord {
		return 0, false
	}
	var buffer wordBuffer
	switch string(buffer.fold(word.text)) {
	case "snapshot":
		return ClusterSnapshot, true
	case "purge":
		return ClusterPurge, true
	case "trigger":
		return ClusterTriggerElection, true
	case "transfer":
		return ClusterTransferLeader, true
	case "stepdown":
		return ClusterStepdown, true
	case "clear":
		return ClusterClear, true
	case "rebalance":
		return ClusterRebalance, true
	case "join":
		return ClusterJoin, true
	case "list", "ls":
		return ClusterList, true
	case "status":
		return ClusterStatus, true
	case "leave":
		return ClusterLeave, true
	case "drain":
		return ClusterDrain, true
	case "resume":
		return ClusterResume, true
	case "retain":
		return ClusterRetain, true
	}
	return 0, false
}

// retain reads CHANGES and at least one bound, each once, in any order.
func (p *parser) retain(cluster *Cluster) {
	p.expectWord("changes")
	for {
		var bound *int64
		switch {
		case p.isWord("entries"):
			bound = &cluster.Retain.Entries
		case p.isWord("bytes"):
			bound = &cluster.Retain.Bytes
		case p.isWord("seconds"):
			bound = &cluster.Retain.Seconds
		}
		if bound == nil || *bound != 0 {
			break
		}
		p.advance()
		at := p.token
		if *bound = p.integer("a number above zero", math.MaxInt64); *bound == 0 {
			p.token = at
			p.unexpected("a number above zero")
		}
	}
	if cluster.Retain == (Retain{}) {
		p.unexpected("ENTRIES, BYTES or SECONDS")
	}
}

// purge reads --upto n, or UPTO n. The dashes would begin a comment anywhere else, so they are taken from
// the text before the next token is cut.
func (p *parser) purge(cluster *Cluster) {
	const flag = "--upto"
	start := p.offset
	for start < len(p.source) && (p.source[start] == ' ' || p.source[start] == '\t' || p.source[start] == '\n' || p.source[start] == '\r') {
		start++
	}
	if end := start + len(flag); end <= len(p.source) && sameWord(p.source[start:end], flag) {
		p.advanceTo(start + 2)
	}
	p.advance()
	p.expectWord("upto")
	p.symbol("=")
	cluster.Upto = p.integer("an index of the log", math.MaxInt64)
}

// address takes host:port, in quotes or bare.
func (p *parser) address(what string) string {
	if p.token.kind == tokenString {
		return p.text(what)
	}
	start := p.token.pos
	end := int(start.Offset)
	for end < len(p.source) && (isBare(p.source[end]) || p.source[end] == '[' || p.source[end] == ']') {
		end++
	}
	if end == int(start.Offset) {
		p.unexpected(what)
	}
	p.advanceTo(end)
	p.token.end = int32(end) //nolint:gosec // bounded by MaxTextBytes
	p.advance()
	return p.source[start.Offset:end]
}
