//! Claims about the queue of those who wait.

use proptest::prelude::*;

use super::*;

/// The queue as a plain list, in the order of arrival.
#[derive(Debug, Default)]
struct Model(Vec<(usize, Priority)>);

impl Model {
    fn take(
        &mut self,
        order: Order,
        priority: impl Fn(&[Priority]) -> Option<Priority>,
    ) -> Option<usize> {
        let priorities: Vec<_> = self.0.iter().map(|&(_, priority)| priority).collect();
        let wanted = priority(&priorities)?;
        let same = |&(_, priority): &(usize, Priority)| priority == wanted;
        let index = match order {
            Order::Fifo => self.0.iter().position(same),
            Order::Lifo => self.0.iter().rposition(same),
        }?;
        Some(self.0.remove(index).0)
    }

    fn call(&mut self, order: Order) -> Option<usize> {
        self.take(order, |all| all.iter().max().copied())
    }

    fn displace(&mut self, than: Priority, order: Order) -> Option<usize> {
        let last = if order == Order::Fifo {
            Order::Lifo
        } else {
            Order::Fifo
        };
        self.take(last, |all| {
            all.iter().min().copied().filter(|least| *least < than)
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(Priority),
    Call(Order),
    Displace(Priority, Order),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let priority = || prop::sample::select(Priority::ALL.to_vec());
    let order = || prop::sample::select(vec![Order::Fifo, Order::Lifo]);
    prop_oneof![
        4 => priority().prop_map(Step::Push),
        2 => order().prop_map(Step::Call),
        1 => (priority(), order()).prop_map(|(priority, order)| Step::Displace(priority, order)),
        1 => (0_usize..40).prop_map(Step::Leave),
    ]
}

proptest! {
    #[test]
    fn exactly_those_are_called_that_a_plain_list_would_call(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut waiters = Waiters::default();
        let mut model = Model::default();
        let mut tickets: Vec<Option<Ticket>> = Vec::new();
        for step in steps {
            let (gone, fate) = match step {
                Step::Push(priority) => {
                    model.0.push((tickets.len(), priority));
                    tickets.push(Some(waiters.push(priority)));
                    (None, Fate::Waiting)
                },
                Step::Call(order) => {
                    let called = waiters.call(order).is_some();
                    let expected = model.call(order);
                    prop_assert_eq!(called, expected.is_some());
                    (expected, Fate::Called)
                },
                Step::Displace(priority, order) => {
                    let displaced = waiters.displace(priority, order).is_some();
                    let expected = model.displace(priority, order);
                    prop_assert_eq!(displaced, expected.is_some());
                    (expected, Fate::Displaced)
                },
                Step::Leave(number) => {
                    if let Some(ticket) = tickets.get_mut(number).and_then(Option::take) {
                        let left = waiters.remove(ticket);
                        prop_assert_eq!(left, Fate::Waiting);
                        model.0.retain(|&(other, _)| other != number);
                    }
                    (None, Fate::Waiting)
                },
            };
            if let Some(number) = gone {
                let told = waiters.poll(&mut tickets[number], Waker::noop());
                prop_assert_eq!(told, fate);
                prop_assert!(tickets[number].is_none());
            }
            for ticket in &mut tickets {
                if ticket.is_some() {
                    prop_assert_eq!(waiters.poll(ticket, Waker::noop()), Fate::Waiting);
                }
            }
            prop_assert!(waiters.places.len() <= tickets.len());
        }
    }
}

#[test]
fn places_are_used_again() {
    let mut waiters = Waiters::default();
    for _ in 0..1_000 {
        let (first, second) = (waiters.push(Priority::Low), waiters.push(Priority::High));
        assert_eq!(waiters.remove(first), Fate::Waiting);
        assert!(waiters.call(Order::Fifo).is_some());
        assert_eq!(waiters.remove(second), Fate::Called);
    }
    assert_eq!(waiters.places.len(), 2);
}
