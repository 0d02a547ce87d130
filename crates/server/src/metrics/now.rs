//! What is as it is when somebody asks.

use std::sync::atomic::AtomicU64;

use aevatar_sandbox_python::PythonSandboxService;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

type Number = Gauge<u64, AtomicU64>;

/// The name of a profile of zygotes, which the operator chose.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Profile {
    profile: String,
}

#[derive(Debug, Default)]
pub(super) struct Now {
    running: Number,
    capacity: Number,
    queue_depth: Number,
    queue_capacity: Number,
    parked: Family<Profile, Number>,
    zygotes: Number,
}

impl Now {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        registry.register("running", "Programs that run", all.running.clone());
        registry.register("capacity", "Programs that may run at the same time", all.capacity.clone());
        registry.register("queue_depth", "Executions that wait for their turn", all.queue_depth.clone());
        registry.register("queue_capacity", "Executions that may wait", all.queue_capacity.clone());
        registry.register(
            "sandboxes_parked",
            "Sandboxes with a warm interpreter that wait for a program",
            all.parked.clone(),
        );
        registry.register("zygotes_ready", "Warm interpreters that workers are forked from", all.zygotes.clone());
        all
    }

    /// So that there is one of each.
    #[cfg(test)]
    pub(super) fn touch(&self) {
        drop(self.parked.get_or_create(&Profile { profile: "bare".to_owned() }));
    }

    pub(super) fn look(&self, service: &PythonSandboxService) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let queue = service.queue_state();
        self.running.set(number(queue.running));
        self.capacity.set(number(queue.capacity));
        self.queue_depth.set(number(queue.waiting));
        self.queue_capacity.set(number(queue.max_waiting));
        let warm = service.warm_report();
        // An environment that is gone takes its workers with it.
        self.parked.clear();
        for profile in &warm.profiles {
            let label = Profile { profile: profile.name.clone() };
            // Each environment has its own of the same name.
            self.parked.get_or_create(&label).inc_by(u64::from(profile.parked));
        }
        self.zygotes.set(number(warm.profiles.iter().filter(|profile| profile.ready).count()));
    }
}
