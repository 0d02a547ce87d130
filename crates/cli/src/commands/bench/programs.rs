//! The programs that are run.

use clap::ValueEnum;
use serde::Serialize;

/// A program of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub(super) enum Program {
    /// The least that a program can do
    Hello,
    /// Imports numpy
    Numpy,
    /// Imports pandas
    Pandas,
    /// Imports matplotlib with its plots
    Matplotlib,
    /// Imports scipy
    Scipy,
    /// Imports requests and Beautiful Soup
    Web,
    /// Imports all seven packages
    All,
    /// Describes a small table with pandas
    Describe,
}

impl Program {
    /// In the order of tables.
    pub(super) const ALL: [Self; 8] =
        [Self::Hello, Self::Describe, Self::All, Self::Numpy, Self::Pandas, Self::Matplotlib, Self::Scipy, Self::Web];

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Hello => "print(\"hi\")",
            Self::Numpy => "import numpy",
            Self::Pandas => "import pandas",
            Self::Matplotlib => "import matplotlib.pyplot",
            Self::Scipy => "import scipy",
            Self::Web => "import requests, bs4",
            Self::All => "import numpy, pandas, scipy, matplotlib, sklearn, requests, bs4",
            Self::Describe => {
                "import pandas as pd; df = pd.DataFrame({\"a\": range(10), \"b\": range(10)}); print(df.describe())"
            }
        }
    }

    /// What tables and pictures call it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Hello => "print(\"hi\")",
            Self::Numpy => "import numpy",
            Self::Pandas => "import pandas",
            Self::Matplotlib => "import matplotlib.pyplot",
            Self::Scipy => "import scipy",
            Self::Web => "import requests, bs4",
            Self::All => "import all seven packages",
            Self::Describe => "DataFrame.describe()",
        }
    }

    /// Whether it needs packages of the environment.
    pub(super) const fn needs_packages(self) -> bool {
        !matches!(self, Self::Hello)
    }
}
