# /// honest
# shows = "scikit-learn: a forest on two jobs and a pipeline"
# stdout = "True True"
# limits = ["--memory=512Mi"]
# ///
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

features, labels = load_iris(return_X_y=True)
train, test, train_labels, test_labels = train_test_split(features, labels, random_state=0)
forest = RandomForestClassifier(n_estimators=20, n_jobs=2, random_state=0).fit(train, train_labels)
line = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, train_labels)
print(forest.score(test, test_labels) > 0.9, line.score(test, test_labels) > 0.9)
