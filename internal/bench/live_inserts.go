package bench

// insertsKept is what subscriptions cost writers. Slices without and with them take turns, so that a disk that gets slower
// meanwhile takes as much from both.
func (l *liveLab) insertsKept() error {
	const subscriptions = 1000
	l.onlyCount()
	var without, with kept
	for _, some := range []bool{false, true, true, false} {
		slice, rooms := &without, 1
		if some {
			slice, rooms = &with, subscriptions/10
			if err := l.connect(100); err != nil {
				return err
			}
			if err := l.subscribeRooms(subscriptions, rooms); err != nil {
				return err
			}
		}
		if err := slice.add(l.closedLoop(rooms)); err != nil {
			return err
		}
		l.disconnect()
	}
	base, cpu := without.mean()
	err := l.print(liveCase{Case: "insert_without_subscriptions", Value: base, Unit: "inserts_per_s", CPUPerInsert: cpu})
	if err != nil {
		return err
	}
	filtered, cpu := with.mean()
	err = l.print(liveCase{
		Case: "insert_filtered_10_match", Connections: 100, Subscriptions: subscriptions, Value: filtered, Unit: "inserts_per_s", CPU: cpu / 10,
		CPUPerInsert: cpu,
	})
	if err != nil {
		return err
	}
	err = l.print(liveCase{Case: "insert_kept", Connections: 100, Subscriptions: subscriptions, Value: 100 * filtered / base, Unit: "percent"})
	if err != nil {
		return err
	}
	if err = l.connect(100); err != nil {
		return err
	}
	if err = l.subscribeAll(subscriptions); err != nil {
		return err
	}
	matching, cpu, err := l.closedLoop(1)
	if err != nil {
		return err
	}
	return l.print(liveCase{Case: "insert_all_match", Subscriptions: subscriptions, Value: matching, Unit: "inserts_per_s", CPU: cpu / subscriptions})
}

// onlyCount says that nobody asks when an event came: it is counted, and read when it suits.
func (l *liveLab) onlyCount() {
	l.untimed = true
	l.readers.unhurried.Store(true)
}

// kept is what slices of one kind came to.
type kept struct{ rates, costs []float64 }

func (k *kept) add(rate, cpu float64, err error) error {
	k.rates, k.costs = append(k.rates, rate), append(k.costs, cpu)
	return err
}

func (k *kept) mean() (rate, cpu float64) {
	for i := range k.rates {
		rate += k.rates[i] / float64(len(k.rates))
		cpu += k.costs[i] / float64(len(k.costs))
	}
	return rate, cpu
}

// matchCurve is what an INSERT costs the server when ten of more and more subscriptions see it.
func (l *liveLab) matchCurve() error {
	l.onlyCount()
	if err := l.connect(max(1, l.options.Subscriptions/subscriptionsPerSocket)); err != nil {
		return err
	}
	made := 0
	for _, subscriptions := range []int{l.options.Subscriptions / 100, l.options.Subscriptions / 10, l.options.Subscriptions} {
		// Rooms that are written to have ten subscribers; those of the larger steps come in further rooms.
		if err := l.subscribeRange(made, subscriptions); err != nil {
			return err
		}
		made = subscriptions
		rate, cpu, err := l.closedLoop(subscriptions / 10)
		if err != nil {
			return err
		}
		err = l.print(liveCase{Subscriptions: subscriptions, Value: cpu, Unit: "cpu_us_per_insert", Rate: int(rate), CPU: cpu / 10})
		if err != nil {
			return err
		}
	}
	return nil
}
