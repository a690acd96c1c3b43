//! The scripts and their table. `each_scenario!` holds the list once; the table and the tests of every home
//! are made from it, so a script that is not in the list does not compile (it is unused).

pub mod binding;
pub mod copy;
pub mod deadlines;
pub mod deadlock;
pub mod death;
pub mod fairness;
pub mod messages;
pub mod migration;
pub mod notify;
pub mod privilege;
pub mod remote;
pub mod system;
pub mod waiting;

use crate::world::{Need, World};

/// One script.
pub struct Scenario {
    /// Module it is in.
    pub group: &'static str,
    /// Its function's name.
    pub name: &'static str,
    /// Numbers in the facts' §7; none = beyond them.
    pub facts: &'static [u32],
    /// What a home must have.
    pub needs: &'static [Need],
    /// The script.
    pub run: fn(&mut World),
}

/// Calls `$with!` with every scenario: `group { name [facts] [needs]; … }`, behind whatever else is given.
#[macro_export]
macro_rules! each_scenario {
    ($with:ident $($more:tt)*) => {
        $with! {
            $($more)*
            system {
                system_info [1] [Daemon];
                second_daemon [3] [Daemon];
                wrong_node_number [4] [Daemon];
                three_containers [6] [Daemon];
                container_twice [7] [Daemon];
                container_too_large [8] [Daemon];
                container_info [9] [Daemon];
                container_ends [10] [Processes];
                daemon_stops [2, 5, 11] [Daemon];
                connection_flags [12] [TwoNodes, Cut];
                unknown_node [13] [Daemon];
                node_down_and_up [14] [TwoNodes, KillNode];
                add_node_twice [15] [TwoNodes];
                add_wrong_node [16] [Daemon];
                del_node [17] [TwoNodes];
                node_info [18] [Daemon];
                counters [] [Daemon];
            }
            binding {
                bind_and_exit [19] [Processes];
                bind_a_child [20] [Processes];
                bind_a_replica [21] [Daemon];
                occupied [22] [];
                bind_remote [23] [TwoNodes];
                bind_remote_wrongly [24] [TwoNodes];
                bind_remote_twice [25] [TwoNodes];
                bind_a_backup [26] [TwoNodes, Processes];
                bind_user_mode [27] [Daemon];
                two_threads [28, 29] [];
                bound_elsewhere [30] [];
                getep_unbound [31] [Processes];
                getep_elsewhere [32] [Processes];
                parent_exits [33] [];
                unbound_by_another [34] [Processes, OneNode];
                unbound_by_nobody [35] [Processes, OneNode];
                queued_sender_learns [36] [];
                awaited_source_learns [37] [];
                queued_call_learns [39] [];
                taken_call_learns [40] [];
                unbind_free [41] [Daemon];
                warned_of_an_end [42] [Daemon];
                warned_by_rights [42] [Processes];
                ends_wait_their_turn [42] [Daemon];
                table_entries [43] [];
                unbound_can_nothing [] [];
                slots_are_reborn [] [];
                thousand_rebinds [] [];
                queue_is_not_inherited [] [];
            }
            waiting {
                nobody_binds_me [44] [Daemon];
                bound_already [45] [];
                wait_for_another [46] [Daemon];
                wait_for_the_end [47] [Daemon];
                bound_from_outside [48] [Processes];
                wait_for_myself [49] [Daemon];
                wakeup_a_receiver [50] [];
                wakeup_is_kept [51] [];
                wakeup_wrongly [52] [];
                wakeup_remote [52] [TwoNodes];
                wakeup_spares_specific [51] [];
            }
            privilege {
                at_bind [53] [];
                set_and_get [54] [];
                wrong_values [55] [Daemon];
                target_denied [56] [];
                target_denied_later [56] [];
                user_may_only_call [57] [];
                user_calls [58] [];
                call_denied [59] [];
                user_given_more [] [];
            }
            messages {
                receiver_first [60] [];
                sender_first [61] [];
                specific_source [62] [];
                two_sends [63] [];
                five_senders [64] [];
                receive_times_out [65] [];
                no_wait_leaves_nothing [66] [];
                interrupted [67] [Cancel];
                to_self [68] [];
                to_free_slot [69] [];
                out_of_range [70] [];
                call_and_send_back [71] [];
                call_and_reply [72] [];
                reply_to_nobody [73] [];
                user_may_not_serve [74] [];
                late_answer [75] [];
                relay [76] [];
                crossed_sends [77] [];
                many_pairs [78] [];
                containers_apart [79] [];
                generations_differ [] [];
                full_message [] [];
                cancelled_call [] [Cancel];
                ten_thousand_calls [] [];
            }
            notify {
                receiver_waits [80] [];
                before_receive [81] [];
                twice_is_once [82] [];
                before_messages [83] [];
                filter_holds [84] [];
                lowest_first [85] [];
                in_anothers_name [86] [];
                from_hardware [87] [];
                values_coalesce [88] [];
                not_to_users [89] [];
                ends_a_call [90] [];
                gone_with_the_notifier [38] [];
                flood [] [];
            }
            copy {
                server_to_client [91] [Copy];
                client_to_server [92] [Copy];
                third_party [93, 106] [Copy];
                party_not_blocked [94] [Copy];
                wrong_parties [95] [Copy];
                too_many_bytes [96] [Copy];
                every_size [97, 107] [Copy];
                outside_the_grant [98] [Copy];
                self_as_party [99] [Copy];
                grant_ends_with_the_call [] [Copy];
                too_many_grants [] [Copy];
                client_leaves [] [Copy];
            }
            remote {
                send_completes_on_consumption [100, 103] [TwoNodes];
                calls [101, 102] [TwoNodes];
                notify_and_send_back [104] [TwoNodes];
                large_copies [105, 106, 107] [TwoNodes, Copy];
                many_over_one_connection [108] [TwoNodes];
                ring [109] [];
                destination_unbound [110] [TwoNodes];
                server_killed [111] [TwoNodes, Processes];
                node_unreachable [112] [TwoNodes, KillNode];
                connection_resumed [113] [TwoNodes, Cut];
                node_dies [114] [TwoNodes, KillNode];
                unannounced_client [115] [TwoNodes];
                client_on_another_node [116] [TwoNodes];
                three_answers_at_once [120] [];
                messages_among_data [121] [TwoNodes, Copy];
                idle_connection [122] [TwoNodes];
            }
            migration {
                rolled_back [123, 124] [Daemon];
                committed [125] [TwoNodes, Processes];
                without_start [126] [Daemon];
                owes_an_answer [127] [Daemon];
                to_a_wrong_node [128] [TwoNodes];
                queued_before [129] [TwoNodes, Processes];
                standby_takes_over [130] [TwoNodes, Processes];
                moved_under_requests [131, 132] [TwoNodes, Processes];
                standby_is_silent [133] [TwoNodes, Processes];
                standby_leaves [134] [TwoNodes, Processes];
                own_replica_serves [135] [TwoNodes];
                replica_ends [136] [TwoNodes];
                restarted_in_place [137] [Processes];
                notifications_move [] [TwoNodes, Processes];
                held_send_expires [] [Daemon];
            }
            death {
                killed_with_a_sender [] [Processes];
                killed_with_a_request_queued [] [Processes];
                killed_with_a_request_taken [] [Processes];
                killed_as_a_source [] [Processes];
                killed_while_sending [] [Processes];
                client_killed [] [Processes];
                receiver_of_any_goes_on [] [Processes];
                killed_with_grants [] [Processes, Copy];
                server_restarts [] [Processes];
                relayed_then_killed [] [Processes];
                killed_under_load [] [Processes];
                everybody_is_told [] [];
            }
            deadlines {
                each_call_ends [] [];
                inherited [] [];
                own_time_is_shorter [] [];
                inheritance_ends [] [];
                relaying_ends_it [] [];
                late_answer_is_dropped [] [];
                expired_in_the_queue [] [];
            }
            deadlock {
                two_callers [] [];
                three_callers [] [];
                two_senders [] [];
                server_calls_its_client [] [];
                chain_is_no_circle [] [];
            }
            fairness {
                order_is_kept [] [];
                nobody_twice [] [];
                flood_does_not_starve [] [];
                notifications_do_not_starve [] [];
            }
        }
    };
}

macro_rules! table {
    ($( $group:ident { $( $name:ident [$($fact:literal),*] [$($need:ident),*]; )* } )*) => {
        /// Every script.
        pub static TABLE: &[Scenario] = &[ $( $( Scenario {
            group: stringify!($group),
            name: stringify!($name),
            facts: &[$($fact),*],
            needs: &[$(Need::$need),*],
            run: $group::$name,
        }, )* )* ];
    };
}
each_scenario!(table);

#[cfg(test)]
mod tests {
    use super::TABLE;

    /// 117–119 ask for calls a proxy makes of the reference's kernel; DEVIATIONS.md says what stands for
    /// them.
    const ELSEWHERE: [u32; 3] = [117, 118, 119];

    #[test]
    fn every_number_of_the_facts_has_a_script() {
        let has = |n: &u32| TABLE.iter().any(|s| s.facts.contains(n));
        let missing: Vec<u32> = (1..=137).filter(|n| !has(n) && !ELSEWHERE.contains(n)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn names_are_unique() {
        for (i, s) in TABLE.iter().enumerate() {
            assert!(!TABLE[..i].iter().any(|o| (o.group, o.name) == (s.group, s.name)), "{}", s.name);
        }
    }
}
