//! Plugins with scalar functions: columns in, a column out, checked against the signature.

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::contract::udf as contract;
use crate::descriptor::{FunctionsDescriptor, NullHandling, Signature};
use crate::digest::Digest;
use crate::error::{Failure, PluginError, Stage};
use crate::sandbox::{Exports, Instance, Sandbox, State};
use crate::stats::{CallStats, PluginStats};
use crate::values::{Column, OwnedColumn};

/// An argument of a function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument<'a> {
    /// One value per row.
    Column(Column<'a>),
    /// One value for all rows: a column of one row.
    Constant(Column<'a>),
}

impl<'a> Argument<'a> {
    fn column(&self) -> &Column<'a> {
        match self {
            Self::Column(column) | Self::Constant(column) => column,
        }
    }

    fn check(&self, rows: usize) -> Result<(), String> {
        match self {
            Self::Column(column) => column.check(rows),
            Self::Constant(column) => column.check(1),
        }
    }
}

impl Exports for contract::Udf {
    type Ready = contract::UdfPre<State>;

    fn ready(pre: InstancePre<State>) -> wasmtime::Result<Self::Ready> {
        contract::UdfPre::new(pre)
    }

    fn instantiate(ready: &Self::Ready, store: &mut Store<State>) -> wasmtime::Result<Self> {
        ready.instantiate(store)
    }
}

/// A plugin with functions, ready to be called from any thread.
#[derive(Debug)]
pub struct Functions {
    sandbox: Sandbox<contract::Udf>,
    descriptor: FunctionsDescriptor,
    digest: Digest,
}

impl Functions {
    /// Asks the plugin what it is.
    pub(crate) fn describe(mut sandbox: Sandbox<contract::Udf>, digest: Digest) -> Result<Self, PluginError> {
        let deadline = sandbox.limits.start_deadline;
        let (descriptor, _) = sandbox.call(0, None, |instance| {
            instance.arm(Stage::Describe, deadline);
            let Instance { store, exports, .. } = instance;
            let descriptor: FunctionsDescriptor = exports
                .elanus_plugin_scalar_functions()
                .call_describe(store)?
                .into();
            Ok(descriptor
                .check()
                .map(|()| descriptor)
                .map_err(Failure::Description))
        })?;
        sandbox.rename(format!("{} {}", descriptor.name, descriptor.version));
        Ok(Self {
            sandbox,
            descriptor,
            digest,
        })
    }

    /// What it says about itself.
    pub fn descriptor(&self) -> &FunctionsDescriptor {
        &self.descriptor
    }

    /// The digest of its file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it has done so far.
    pub fn stats(&self) -> PluginStats {
        self.sandbox.counters.read()
    }

    /// Gives back the memory of instances that wait for a call.
    pub fn release_idle(&self) {
        self.sandbox.release_idle();
    }

    /// The place of a function in the description.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.descriptor
            .functions
            .iter()
            .position(|function| function.name == name)
    }

    /// Calls the function at that place of the description for `rows` rows.
    ///
    /// Under [`NullHandling::NullIfAnyNull`] the result is null where an argument is, whatever the function says.
    ///
    /// # Errors
    /// The call does not fit the signature ([`Failure::Request`]), or the plugin fails: see [`Failure`].
    pub fn invoke(
        &self,
        function: usize,
        arguments: &[Argument<'_>],
        rows: usize,
    ) -> Result<(OwnedColumn, CallStats), PluginError> {
        let Some(signature) = self.descriptor.functions.get(function) else {
            let failure = Failure::Request(format!("there is no function {function}"));
            return Err(self.sandbox.error(Stage::Load, failure));
        };
        let stage = Stage::Invoke(signature.name.clone());
        self.check_call(signature, arguments, rows)
            .map_err(|reason| self.sandbox.error(stage.clone(), Failure::Request(reason)))?;
        let merges = signature.nulls == NullHandling::NullIfAnyNull;
        let crossing = contract::arguments(arguments, !merges);
        let deadline = self.sandbox.limits.deadline;
        let (place, count) = (function as u32, rows as u32);
        let (mut column, stats) = self.sandbox.call(rows, None, |instance| {
            instance.arm(stage, deadline);
            let Instance { store, exports, .. } = instance;
            let guest = exports.elanus_plugin_scalar_functions();
            Ok(match guest.call_invoke(store, place, &crossing, count)? {
                Ok(column) => {
                    let column = OwnedColumn::from(column);
                    let checked = check_answer(signature, &column, rows);
                    checked.map(|()| column).map_err(Failure::Answer)
                }
                Err(error) => Err(Failure::Refused(error.into())),
            })
        })?;
        if merges {
            merge_nulls(&mut column, arguments, rows);
        }
        Ok((column, stats))
    }

    fn check_call(
        &self,
        signature: &Signature,
        arguments: &[Argument<'_>],
        rows: usize,
    ) -> Result<(), String> {
        let most = self.sandbox.limits.rows.min(u32::MAX as usize);
        if rows > most {
            return Err(format!("{rows} rows in one call, at most {most} are allowed"));
        }
        let declared = &signature.parameters;
        if declared.len() != arguments.len() {
            return Err(format!(
                "{} arguments, it takes {}",
                arguments.len(),
                declared.len()
            ));
        }
        for (parameter, argument) in declared.iter().zip(arguments) {
            let given = argument.column().data.kind();
            if !parameter.kind.accepts(&given) {
                return Err(format!(
                    "argument '{}' is {given}, not {}",
                    parameter.name, parameter.kind
                ));
            }
            argument
                .check(rows)
                .map_err(|reason| format!("argument '{}': {reason}", parameter.name))?;
        }
        Ok(())
    }
}

fn check_answer(signature: &Signature, column: &OwnedColumn, rows: usize) -> Result<(), String> {
    let has = column.data.view().kind();
    if !signature.returns.accepts(&has) {
        return Err(format!(
            "a column of {has}, its signature says {}",
            signature.returns
        ));
    }
    column.view().check(rows)
}

/// A row with a null argument is null.
fn merge_nulls(column: &mut OwnedColumn, arguments: &[Argument<'_>], rows: usize) {
    for argument in arguments {
        match argument {
            Argument::Column(Column {
                validity: Some(nulls),
                ..
            }) => {
                let validity = column.validity.get_or_insert_with(|| vec![1; rows]);
                for (own, other) in validity.iter_mut().zip(*nulls) {
                    *own &= other;
                }
            }
            Argument::Constant(Column {
                validity: Some([0]), ..
            }) => column.validity = Some(vec![0; rows]),
            Argument::Column(_) | Argument::Constant(_) => {}
        }
    }
}
