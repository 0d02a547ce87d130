# /// honest
# shows = "the program's own source by inspect, and its annotations"
# stdout = '''
# def double(number: int) -> int:
#     return number * 2
# 
# {'number': <class 'int'>, 'return': <class 'int'>} 14
# '''
# ///
import inspect
import typing


def double(number: int) -> int:
    return number * 2


print(inspect.getsource(double))
print(typing.get_type_hints(double), inspect.getsourcelines(double)[1])
